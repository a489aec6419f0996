#include "src/privacy/anonymizer.h"

#include <cmath>

#include "holdfast/error.h"
#include "src/crypto/kdf.h"
#include "src/privacy/noise.h"
#include "src/privacy/policy.h"

namespace holdfast {
namespace privacy {
namespace {

constexpr std::size_t kMaxDepth = 100;
constexpr std::size_t kMaxText = 512 * 1024;
constexpr std::size_t kMaxScanned = 32 * 1024;  // a longer text is dropped unscanned

using Path = std::vector<std::string>;

class Walk {
 public:
  Walk(const FieldRules& rules, const TextScanner& scanner, const AnonymizingMeans& means)
      : rules_(rules), scanner_(scanner), means_(means) {}

  AnonymizedDocument run(const Json& document) {
    static const FieldRule kDrop;
    std::optional<Json> out = visit(document, kDrop, "");
    done_.document = out ? std::move(*out) : Json::object();
    return std::move(done_);
  }

 private:
  // What becomes of `value`, whose rule is `inherited` unless it has one of its own; `name` is that
  // of the member that it is, or that its list is.
  std::optional<Json> visit(const Json& value, const FieldRule& inherited,
                            const std::string& name) {
    if (path_.size() > kMaxDepth) {
      throw Error(ErrorCode::too_large, "the data is nested deeper than 100 levels");
    }
    FieldRules::Match match = rules_.at(path_);
    const FieldRule& rule = match.rule ? *match.rule : inherited;
    bool named = match.rule && match.named && !path_.empty();
    if (!named && rule.action == Action::keep && !name.empty()) {
      if (const FieldRule* sensitive = sensitive_rule(name)) {
        return replace_whole(value, *sensitive, false);
      }
    }

    bool inward = rule.action == Action::drop || rule.action == Action::keep;
    if (inward && value.is_structured()) return visit_members(value, rule, named ? "" : name);
    return replace_whole(value, rule, named);
  }

  // Of what has parts with rules of their own only these leave.
  std::optional<Json> replace_whole(const Json& value, const FieldRule& rule, bool named) {
    static const FieldRule kDrop;
    if (value.is_structured() && rules_.reach_below(path_)) return visit_members(value, kDrop, "");
    return replace(value, rule, named);
  }

  // `name`: what the elements of a list go by.
  std::optional<Json> visit_members(const Json& value, const FieldRule& rule,
                                    const std::string& name) {
    Json out = value.is_object() ? Json::object() : Json::array();
    std::size_t index = 0;
    for (const auto& item : value.items()) {
      path_.push_back(value.is_object() ? item.key() : std::to_string(index++));
      bool tells = value.is_object() && !rules_.spell_out(path_) && !is_plain(item.key());
      std::optional<Json> member;
      if (tells) {
        note("drop", item.value(), std::nullopt);
      } else {
        member = visit(item.value(), rule, value.is_object() ? item.key() : name);
      }
      if (member && value.is_object()) out[item.key()] = std::move(*member);
      if (member && value.is_array()) out.push_back(std::move(*member));
      path_.pop_back();
    }
    bool whole = rule.action == Action::keep || path_.empty();
    if (out.empty() && !whole) return std::nullopt;
    return out;
  }

  // Whether a whole number is a card's, say; programs that know no others write it as 4e15.
  bool tells_by_digits(const Json& value) const {
    if (value.is_number_integer()) return !scanner_.find(value.dump()).empty();
    if (!value.is_number_float()) return false;
    auto real = value.get<double>();
    bool whole = std::abs(real) < 9e18 && real == std::trunc(real);
    return whole && !scanner_.find(std::to_string(static_cast<std::int64_t>(real))).empty();
  }
  bool is_plain(const std::string& key) const {
    if (key.size() > kMaxScanned) return false;
    std::string folded = TextScanner::fold(key);
    return folded == key && scanner_.find(folded).empty();
  }

  // `named`: the policy spells this field out, and knows that it is a number, say.
  std::optional<Json> replace(const Json& value, const FieldRule& rule, bool named) {
    std::optional<Json> out;
    switch (rule.action) {
      case Action::drop: break;
      case Action::keep:
        if (rule.scan && value.is_string()) {
          const auto& text = value.get_ref<const std::string&>();
          if (text.size() <= kMaxScanned) out = scanner_.redact(text);
        } else if (!rule.scan || named || !tells_by_digits(value)) {
          out = value;
        }
        break;
      case Action::pseudonym:
        if (!value.is_structured() && !value.is_null()) {
          out = means_.pseudonym(rule, value.is_string() ? value.get<std::string>() : value.dump());
        }
        break;
      case Action::generalise: out = generalise(rule, value); break;
      case Action::randomise: {
        Json noisy = means_.randomise(pointer_text(path_), rule, value);
        if (!noisy.is_null()) out = std::move(noisy);
        break;
      }
      case Action::custom: out = custom(rule.function, value); break;
    }
    note(action_name(rule.action), value, out);
    return out;
  }

  std::optional<Json> custom(const std::string& name, const Json& value) const {
    auto found = means_.custom.find(name);
    if (found == means_.custom.end() || !found->second) {
      throw Error(ErrorCode::invalid_argument,
                  "the policy has a field with the custom action '" + name +
                      "', and the app did not set it: call set_custom() first");
    }
    Json out = found->second(value);
    if (out.is_null()) return std::nullopt;
    return out;
  }

  void note(const char* action, const Json& before, std::optional<Json> after) {
    done_.changes.push_back({pointer_text(path_), action, before, std::move(after)});
  }

  const FieldRules& rules_;
  const TextScanner& scanner_;
  const AnonymizingMeans& means_;
  Path path_;
  AnonymizedDocument done_;
};

std::size_t text_size(const Json& value, std::size_t depth) {
  if (depth > kMaxDepth) {
    throw Error(ErrorCode::too_large, "the data is nested deeper than 100 levels");
  }
  if (value.is_string()) return value.get_ref<const std::string&>().size() + 2;
  std::size_t size = 8;
  for (const auto& item : value.items()) {
    if (!value.is_structured()) break;
    size += (value.is_object() ? item.key().size() + 4 : 1) + text_size(item.value(), depth + 1);
    if (size > kMaxText) break;
  }
  return size;
}

}  // namespace

AnonymizedDocument anonymize(const Json& document, const FieldRules& rules,
                             const TextScanner& scanner, const AnonymizingMeans& means) {
  if (text_size(document, 0) > kMaxText) {
    throw Error(ErrorCode::too_large, "the data is larger than 512 KiB: send it in parts");
  }
  try {
    return Walk(rules, scanner, means).run(document);
  } catch (const Json::exception&) {
    throw Error(ErrorCode::invalid_argument, "the data holds text that is not UTF-8");
  }
}

std::optional<Json> add_noise(const FieldRule& rule, const Json& value, base::Random& random) {
  UniformBytes uniform(random);
  if (rule.mechanism == Mechanism::response) {
    std::size_t truth = 0;
    for (std::size_t i = 0; i < rule.values.size(); ++i) {
      if (rule.values[i] == value) truth = i;
    }
    return rule.values[randomised_response(truth, rule.values.size(), rule.epsilon, uniform)];
  }
  if (!value.is_number()) return std::nullopt;
  std::int64_t number = rule.most;
  if (value.is_number_float()) {
    auto real = value.get<double>();
    if (!(real < static_cast<double>(rule.most))) {
      number = rule.most;
    } else {
      number =
          real < static_cast<double>(rule.least) ? rule.least : static_cast<std::int64_t>(real);
    }
  } else if (!value.is_number_unsigned() || value.get<std::uint64_t>() < INT64_MAX) {
    number = std::clamp(value.get<std::int64_t>(), rule.least, rule.most);
  }
  number = std::clamp(number, rule.least, rule.most);
  Integer range = Integer(rule.most) - rule.least;
  Integer noise =
      rule.mechanism == Mechanism::laplace
          ? discrete_laplace(laplace_scale(range, rule.epsilon), uniform)
          : discrete_gaussian(gaussian_variance(range, rule.epsilon, rule.delta), uniform);
  return static_cast<std::int64_t>(noise + number);
}

const FieldRules& default_rules() {
  static const FieldRules kRules = [] {
    FieldRule keep;
    keep.action = Action::keep;
    FieldRules rules;
    rules.add({}, keep);
    return rules;
  }();
  return kRules;
}

}  // namespace privacy

struct DataAnonymizer::Impl {
  privacy::FieldRules rules;
  privacy::TextScanner scanner;
  std::map<std::string, CustomAction> custom;
  base::Environment environment = base::system_environment();
  crypto::Secret root = crypto::Secret(32);
};

DataAnonymizer::DataAnonymizer() : impl_(std::make_unique<Impl>()) {
  impl_->rules = privacy::default_rules();
  impl_->environment.random->fill(impl_->root.span());
}

DataAnonymizer::DataAnonymizer(const PrivacyPolicy& policy, const std::string& data_type)
    : DataAnonymizer() {
  const auto& types = policy.rules().data_types;
  auto found = types.find(data_type);
  if (found == types.end()) {
    throw Error(ErrorCode::not_found, "the privacy policy has no data type '" + data_type + "'");
  }
  impl_->rules = found->second.fields;
  impl_->scanner = privacy::TextScanner(policy.rules().phone_regions);
}

DataAnonymizer::~DataAnonymizer() = default;
DataAnonymizer::DataAnonymizer(DataAnonymizer&&) noexcept = default;
DataAnonymizer& DataAnonymizer::operator=(DataAnonymizer&&) noexcept = default;

void DataAnonymizer::set_custom(const std::string& name, CustomAction action) {
  impl_->custom[name] = std::move(action);
}

nlohmann::json DataAnonymizer::anonymize(const nlohmann::json& document) const {
  return preview(document).document;
}

AnonymizedDocument DataAnonymizer::preview(const nlohmann::json& document) const {
  privacy::AnonymizingMeans means;
  means.custom = impl_->custom;
  means.pseudonym = [&](const privacy::FieldRule&, const std::string& value) {
    return base::to_base64url(
        ByteView(crypto::hmac_sha256(impl_->root.view(), base::view(value))).first(16));
  };
  means.randomise = [&](const std::string&, const privacy::FieldRule& rule,
                        const nlohmann::json& value) {
    auto noisy = privacy::add_noise(rule, value, *impl_->environment.random);
    return noisy ? std::move(*noisy) : nlohmann::json();
  };
  return privacy::anonymize(document, impl_->rules, impl_->scanner, means);
}

}  // namespace holdfast
