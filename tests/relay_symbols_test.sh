#!/usr/bin/env bash
# The relay holds none of our code that could decrypt: not the crypto, model, store or sync layers, and no AES.
set -uo pipefail
symbols() { nm -C "$1" | grep -cE 'holdfast::(crypto|model|store|sync)::'; }
library_calls() { nm -D "$1" | grep -cE ' U (EVP_|AES_|crypto_(aead|secretbox|box_|stream))'; }
relay=$(symbols "$BIN/holdfast-relay")
aes=$(library_calls "$BIN/holdfast-relay")
command=$(symbols "$BIN/holdfast")
command_aes=$(library_calls "$BIN/holdfast")
echo "relay: $relay symbols, $aes cipher calls; command: $command symbols, $command_aes cipher calls"
# The command, which does decrypt, shows that the search finds what it looks for.
[[ $relay == 0 && $aes == 0 && $command -gt 100 && $command_aes -gt 3 ]]
