#pragma once

// Changes of the vault's key: by themselves, with a device taken out, with a new recovery code, and
// when a vault is recovered.

#include "src/sync/joining.h"

namespace holdfast::sync {

using KeepCode = std::function<void(const std::string& code)>;

void start_epoch(store::Engine& engine);
// `keep` is called where the device may know the recovery code, which then is replaced.
void revoke_device(store::Engine& engine, const base::Id16& device, const KeepCode& keep);
// Hands a code over and wipes it.
void hand_over(const crypto::Secret& secret, const KeepCode& keep);
void replace_recovery(store::Engine& engine, const KeepCode& keep);
void recover(store::Engine& engine, const std::string& code, const std::string& relay,
             const DeviceLabel& name, const KeepCode& keep);

}  // namespace holdfast::sync
