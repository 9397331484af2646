#!/usr/bin/env bash
# Releases a version blue-green: deployment/blue-green.sh v1.2.3 prod
# Whatever follows is handed on, as in: deployment/blue-green.sh v1.2.3 prod --dry-run
set -euo pipefail

if [[ $# == 0 || $1 == -* ]]; then
    echo "usage: ${0##*/} VERSION [ENVIRONMENT [OPTION...]]" >&2
    exit 2
fi

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
deploy=(deploy --version "$1" --env "${2:-prod}" "${@:3}")
if [[ -x inv ]]; then
    exec ./inv "${deploy[@]}"
elif [[ -f tasks.py ]] && command -v invoke >/dev/null; then
    exec invoke "${deploy[@]}"
elif command -v ondeploy >/dev/null; then
    exec ondeploy "${deploy[@]}"
fi
echo "${0##*/}: ondeploy is not installed: pip install ondeploy" >&2
exit 2
