#!/usr/bin/env bash
# Renders a report page in headless Chromium: screenshot.sh [report.html] [out.png]
set -euo pipefail

report=${1:-crepe_mlx/report.html}
shot=${2:-out/report.png}
[ -f "$report" ] || { echo "error: no report at $report; convert something first, or make screenshot REPORT=path" >&2; exit 2; }

browser=""
for name in chromium chromium-browser google-chrome chrome; do
    if command -v "$name" >/dev/null; then browser=$name; break; fi
done
if [ -z "$browser" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
    browser=chromium
fi
[ -n "$browser" ] || { echo "error: no Chromium found; install it (Debian: apt-get install chromium)" >&2; exit 2; }

profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
mkdir -p "$(dirname "$shot")"
"$browser" --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
    --hide-scrollbars --user-data-dir="$profile" --window-size=1280,3200 \
    --screenshot="$(realpath -m "$shot")" "file://$(realpath "$report")" 2>/dev/null
echo "wrote $shot"
