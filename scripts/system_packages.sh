#!/usr/bin/env bash
# Installs, on a Debian-like machine and as root, what pip cannot: a fast BLAS for MLX on the CPU, the
# compiler that mx.compile calls there, and espeak-ng for the demo. Elsewhere it says what is missing.
set -euo pipefail

[ "$(uname -s)" = Linux ] || exit 0

missing=()
ldconfig -p 2>/dev/null | grep -q 'libopenblas\.so\.0' || missing+=(libopenblas0-pthread)
command -v espeak-ng >/dev/null || missing+=(espeak-ng)
command -v g++ >/dev/null || missing+=(g++)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "note: not installed: ${missing[*]} (Debian/Ubuntu: sudo apt-get install ${missing[*]})" >&2
    exit 0
fi
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
