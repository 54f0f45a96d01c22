#!/usr/bin/env bash
# Runs `clawctl fleet` for the skill `fleet` on a host, through the Control API.
set -euo pipefail
unset CDPATH

usage() {
  printf '%s\n' \
    'Usage: fleet-control.sh deploy TARGET [CODE] [--requested-by NAME] [--ami AMI] [--wait]' \
    '       fleet-control.sh deploy --retire ID [CODE] --requested-by NAME [--wait]' \
    '       fleet-control.sh freeze TARGET [CODE] --reason TEXT [--for DURATION] --requested-by NAME' \
    '       fleet-control.sh unfreeze TARGET [CODE] --requested-by NAME' \
    '       fleet-control.sh cancel REQUEST_ID' \
    '       fleet-control.sh rollback TARGET [CODE] --requested-by NAME [--wait]' \
    '       fleet-control.sh status' \
    '       fleet-control.sh show ID' \
    '       fleet-control.sh history [--limit N]' \
    '       fleet-control.sh follow REQUEST_ID [--timeout DURATION]' \
    '' \
    '--retire destroys the machine of ID permanently. ID must not be in the registry. Only people may request it.' \
    'TARGET is "all" or an instance id. --requested-by is the name of the person who asked.' \
    'CODE is the one-time code of that person, 6 digits, the same as --code CODE.' \
    'Words of a chat (/fleet deploy TARGET) and options of "clawctl fleet …" (such as --json) are accepted, too.' \
    '' \
    'Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 refused by policy or guard,' \
    '4 a service could not be reached or denied the request, 5 timed out, 6 rolled back.'
}

refuse() {
  printf 'Error (USAGE): %s\n' "$1" >&2
  usage >&2
  exit 2
}

# Prints the folder of this script's checkout. Resolves links to the script.
checkout() {
  local file=${BASH_SOURCE[0]} folder
  while [[ -L $file ]]; do
    [[ $file == */* ]] && folder=${file%/*} || folder=.
    file=$(readlink -- "$file")
    [[ $file == /* ]] || file=$folder/$file
  done
  [[ $file == */* ]] && folder=${file%/*} || folder=.
  (cd -P -- "$folder/.." && pwd)
}

# The installed clawctl, else the checkout's.
clawctl=()
find_clawctl() {
  local root
  if command -v clawctl >/dev/null; then
    clawctl=(clawctl)
    return
  fi
  root=$(checkout)
  if command -v node >/dev/null && [[ -f $root/bin/run.js && -f $root/dist/main.js ]]; then
    clawctl=(node "$root/bin/run.js")
    return
  fi
  printf 'Error (TOOL_MISSING): clawctl is not in PATH, and there is no node or no built clawctl in %s.\n' "$root" >&2
  printf '  Install clawctl, or run npm ci and npm run build in the checkout.\n' >&2
  exit 4
}

# A chat message must not send this machine's token to another address.
for word in "$@"; do
  case $word in
    --control-api-url | --control-api-url=* | --mode | --mode=*) refuse "${word%%=*} is not allowed in a chat." ;;
  esac
done

case ${1-} in /fleet | fleet) shift ;; esac
command=${1-}
[[ $# -eq 0 ]] || shift
case $command in
  deploy | rollback | freeze | unfreeze | cancel | follow) options=() ;;
  status | history | show) options=(--chat) ;;
  help | -h | --help)
    usage
    exit 0
    ;;
  '') refuse 'there is no command.' ;;
  *) refuse "there is no command \"${command//[![:print:]]/?}\"." ;;
esac

# `/fleet deploy all 123456`: 6 digits that are not the value of an option are the person's code.
words=()
value_follows=
for word in "$@"; do
  if [[ -z $value_follows && $word =~ ^[0-9]{6}$ ]]; then words+=(--code); fi
  case $word in
    --requested-by | --code | --ami | --request-id | --strategy | --config-revision | --timeout | --on-failure | --health-timeout) value_follows=1 ;;
    --reason | --for | --limit | --before | --format) value_follows=1 ;;
    *) value_follows= ;;
  esac
  words+=("$word")
done
find_clawctl
exec "${clawctl[@]}" fleet "$command" --mode agent ${options[@]+"${options[@]}"} ${words[@]+"${words[@]}"}
