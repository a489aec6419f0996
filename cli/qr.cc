#include <qrencode.h>

#include <memory>

#include "cli/command.h"

namespace holdfast::cli {
namespace {

constexpr int kQuiet =
    2;  // light modules around it; readers do with fewer than the standard's four

}  // namespace

// Two modules above each other make one character, the foreground black on a white background, so
// that it can be read from dark and from light terminals.
std::string draw_qr(const std::string& text) {
  std::unique_ptr<QRcode, decltype(&QRcode_free)> code(
      QRcode_encodeString(text.c_str(), 0, QR_ECLEVEL_L, QR_MODE_8, 1), QRcode_free);
  if (!code) throw Error(ErrorCode::too_large, "the code does not fit into a QR code");
  int width = code->width;
  auto dark = [&](int x, int y) {
    bool inside = x >= 0 && y >= 0 && x < width && y < width;
    return inside && (code->data[static_cast<std::size_t>(y * width + x)] & 1) != 0;
  };
  std::string out;
  for (int y = -kQuiet; y < width + kQuiet; y += 2) {
    out += "\033[30;107m";
    for (int x = -kQuiet; x < width + kQuiet; ++x) {
      bool above = dark(x, y), below = dark(x, y + 1);
      out += above ? (below ? "█" : "▀") : (below ? "▄" : " ");
    }
    out += "\033[0m\n";
  }
  return out;
}

}  // namespace holdfast::cli
