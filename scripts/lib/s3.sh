# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is for the caller's message
# S3 with nothing but curl, which signs by itself: the AWS CLI would be 300 MB of image for two requests. Credentials go to
# curl on its standard input, never into an argument, which every process may read.
# Asks AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; else the instance's role. AWS_ENDPOINT_URL_S3 as for the SDKs.

IMDS=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
S3_ATTEMPTS=${S3_ATTEMPTS:-5}
S3_PAUSE=${S3_PAUSE:-1}
NO_BODY=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

# imds PATH: one value of the instance's metadata (IMDSv2). A machine that has just started may not have its role's
# credentials yet: what is not found is asked for again, for half a minute.
imds() {
  local token attempt said
  for ((attempt = 1; ; attempt++)); do
    if token=$(curl -sS --fail --max-time 5 --retry 3 --retry-connrefused -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$IMDS/latest/api/token") &&
      said=$(printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" |
        curl -sS --fail --max-time 5 --retry 3 --retry-connrefused --config - "$IMDS/latest/meta-data/$1"); then
      printf '%s' "$said"
      return 0
    fi
    ((attempt < S3_ATTEMPTS)) || return 1
    sleep "$((S3_PAUSE * attempt * attempt))"
  done
}

s3_setup() {
  need curl jq
  local role document
  if [[ -z ${S3_BUCKET:-} ]]; then
    S3_BUCKET=$(host_value bucket) ||
      fail 2 'The bucket is not known.' 'Set bucket in nix/site.nix, or S3_BUCKET, or write /etc/clawdinator/bucket.'
  fi
  [[ $S3_BUCKET =~ ^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$ ]] || fail 2 "\"$S3_BUCKET\" is not the name of a bucket."
  if [[ -z ${AWS_REGION:-} ]]; then
    AWS_REGION=${AWS_DEFAULT_REGION:-$(imds placement/region)} ||
      fail 4 'The region is not known: the metadata service does not answer.' 'Set AWS_REGION.'
  fi
  if [[ -z ${AWS_ACCESS_KEY_ID:-} ]]; then
    role=$(imds iam/security-credentials/) || fail 4 'The metadata service names no role for this instance.' \
      'The instance needs the profile of the fleet stack.'
    document=$(imds "iam/security-credentials/${role%%$'\n'*}") || fail 4 "The metadata service gives no credentials of the role $role."
    AWS_ACCESS_KEY_ID=$(jq -r '.AccessKeyId // empty' <<<"$document")
    AWS_SECRET_ACCESS_KEY=$(jq -r '.SecretAccessKey // empty' <<<"$document")
    AWS_SESSION_TOKEN=$(jq -r '.Token // empty' <<<"$document")
    [[ -n $AWS_ACCESS_KEY_ID && -n $AWS_SECRET_ACCESS_KEY && -n $AWS_SESSION_TOKEN ]] ||
      fail 4 "The metadata service's credentials of the role $role are not whole."
  fi
}

# s3_url KEY
s3_url() {
  local endpoint=${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-}} suffix=amazonaws.com
  [[ $AWS_REGION != cn-* ]] || suffix=amazonaws.com.cn
  if [[ -n $endpoint ]]; then
    printf '%s/%s/%s' "${endpoint%/}" "$S3_BUCKET" "$1"
  elif [[ $S3_BUCKET == *.* ]]; then
    printf 'https://s3.%s.%s/%s/%s' "$AWS_REGION" "$suffix" "$S3_BUCKET" "$1"
  else
    printf 'https://%s.s3.%s.%s/%s' "$S3_BUCKET" "$AWS_REGION" "$suffix" "$1"
  fi
}

# s3_curl KEY BODY_SHA256 ANSWER CURL_ARGUMENT…: one signed request; its answer lands in the file ANSWER, and the status is
# printed. An object may be large: it may take as long as it moves, 1 KiB a second at least. S3 wants the body's digest as
# a header; curl before 8 does not send it by itself.
s3_curl() {
  local key=$1 digest=$2 answer=$3
  shift 3
  {
    printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "${AWS_SECRET_ACCESS_KEY//[\"\\]/}"
    if [[ -n ${AWS_SESSION_TOKEN:-} ]]; then printf 'header = "x-amz-security-token: %s"\n' "$AWS_SESSION_TOKEN"; fi
  } | curl --config - --silent --show-error --proto =http,https --path-as-is \
    --aws-sigv4 "aws:amz:$AWS_REGION:s3" --header "x-amz-content-sha256: $digest" --connect-timeout 10 --speed-limit 1024 --speed-time 30 \
    --output "$answer" --write-out '%{http_code}' "$@" "$(s3_url "$key")"
}

# s3_verdict CODE ANSWER CURL_SAID: what S3_STATUS and curl's exit code mean, as `ok`, `again` or `no`; S3_SAID becomes S3's
# own code and message. A denial may pass: the policy of a role that was just made is not in force everywhere at once.
s3_verdict() {
  local code message
  S3_SAID=$(tail -n 1 "$3")
  S3_CODE=''
  case $S3_STATUS in
    2??) if (($1 == 0)); then S3_VERDICT=ok; else S3_VERDICT=again; fi ;;
    3??)
      # No object: the bucket lies in another region.
      S3_SAID="the bucket $S3_BUCKET is not in $AWS_REGION" S3_VERDICT=no
      ;;
    *)
      if [[ -f $2 ]]; then
        # The answer may be anything, and of any length.
        code=$(head -c 4096 "$2" | tr -d '\0\r\n' | sed -nE 's/.*<Code>([A-Za-z0-9.]+)<\/Code>.*/\1/p')
        message=$(head -c 4096 "$2" | tr -d '\0\r\n' | sed -nE 's/.*<Message>([^<]{1,300})<\/Message>.*/\1/p')
        S3_CODE=$code
        if [[ -n $code ]]; then S3_SAID="$code${message:+: $message}"; fi
      fi
      [[ -n $S3_SAID ]] || S3_SAID='S3 does not say why'
      case $S3_STATUS in
        400 | 403 | 408 | 409 | 429 | 5?? | 000) S3_VERDICT=again ;;
        *) S3_VERDICT=no ;;
      esac
      ;;
  esac
}

# s3_get KEY FILE [fresh]: fetches an object, as often as it takes; an interrupted one goes on where it stopped, also in a
# later run. One that may be replaced under its name has to be fetched fresh, or it would be sewn together of two.
# Sets S3_STATUS and, on failure, S3_CODE and S3_SAID. Returns 1 where there is no such object, 4 where S3 denies it or
# can't be reached.
s3_get() {
  local key=$1 file=$2 attempt code said answer
  said=$(mktemp) || fail 1 "There is no room for a temporary file in ${TMPDIR:-/tmp}."
  for ((attempt = 1; attempt <= S3_ATTEMPTS; attempt++)); do
    local resume=()
    if [[ ${3:-} == fresh ]]; then rm -f "$file"; fi
    answer=$file
    if [[ -s $file ]]; then
      resume=(--range "$(wc -c <"$file")-")
      answer=$file.more
      rm -f "$answer"
    fi
    code=0
    S3_STATUS=$(s3_curl "$key" "$NO_BODY" "$answer" ${S3_TIMEOUT:+--max-time "$S3_TIMEOUT"} ${resume[@]+"${resume[@]}"} 2>"$said") || code=$?
    S3_STATUS=${S3_STATUS:-000}
    s3_verdict "$code" "$answer" "$said"
    if [[ $S3_STATUS == 2?? ]]; then
      # More of it, or all of it from a server that knows no ranges.
      if [[ $answer != "$file" && -f $answer ]]; then
        if [[ $S3_STATUS == 206 ]]; then cat "$answer" >>"$file"; else mv -f "$answer" "$file"; fi
      fi
    elif [[ $answer == "$file" && $S3_STATUS != 000 || $S3_STATUS == 416 ]]; then
      # An answer that is no object; or what is there is longer than the object, so it was another one.
      rm -f "$file"
    fi
    if [[ $S3_STATUS == 416 ]]; then continue; fi
    if [[ $S3_VERDICT != again ]]; then break; fi
    if ((attempt < S3_ATTEMPTS)); then sleep "$((S3_PAUSE * attempt * attempt))"; fi
  done
  rm -f "$said" "$file.more"
  if [[ $S3_VERDICT == ok ]]; then return 0; fi
  if [[ $S3_STATUS == 404 && $S3_CODE != NoSuchBucket ]]; then return 1; fi
  return 4
}

# s3_put KEY FILE: stores a small object.
s3_put() {
  local key=$1 file=$2 attempt code said answer digest
  if ! said=$(mktemp) || ! answer=$(mktemp); then fail 1 "There is no room for a temporary file in ${TMPDIR:-/tmp}."; fi
  digest=$(sha256sum <"$file" | cut -c 1-64)
  for ((attempt = 1; attempt <= S3_ATTEMPTS; attempt++)); do
    code=0
    S3_STATUS=$(s3_curl "$key" "$digest" "$answer" --max-time 15 --upload-file "$file" --header 'content-type: application/json' 2>"$said") || code=$?
    S3_STATUS=${S3_STATUS:-000}
    s3_verdict "$code" "$answer" "$said"
    if [[ $S3_VERDICT != again ]]; then break; fi
    if ((attempt < S3_ATTEMPTS)); then sleep "$((S3_PAUSE * attempt))"; fi
  done
  rm -f "$said" "$answer"
  [[ $S3_VERDICT == ok ]] || return 4
}
