# shellcheck shell=bash
# shellcheck disable=SC2034 # callers read S3_CODE and S3_REASON
# S3 through curl, which signs requests: the AWS CLI would add 300 MB to the image. curl reads the credentials from standard
# input, because every process can read its arguments.
# Reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, else the instance's role; AWS_ENDPOINT_URL_S3 as the SDKs do.

IMDS=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
S3_ATTEMPTS=${S3_ATTEMPTS:-5}
S3_PAUSE=${S3_PAUSE:-1}
NO_BODY=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

# imds PATH: one value of the instance's metadata (IMDSv2). Retries for half a minute: a machine that has just started may
# not have the credentials of its role yet.
imds() {
  local token attempt value
  for ((attempt = 1; ; attempt++)); do
    if token=$(curl -sS --fail --max-time 5 --retry 3 --retry-connrefused -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$IMDS/latest/api/token") &&
      value=$(printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" |
        curl -sS --fail --max-time 5 --retry 3 --retry-connrefused --config - "$IMDS/latest/meta-data/$1"); then
      printf '%s' "$value"
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
    document=$(imds "iam/security-credentials/${role%%$'\n'*}") || fail 4 "The metadata service returned no credentials of the role $role."
    AWS_ACCESS_KEY_ID=$(jq -r '.AccessKeyId // empty' <<<"$document")
    AWS_SECRET_ACCESS_KEY=$(jq -r '.SecretAccessKey // empty' <<<"$document")
    AWS_SESSION_TOKEN=$(jq -r '.Token // empty' <<<"$document")
    [[ -n $AWS_ACCESS_KEY_ID && -n $AWS_SECRET_ACCESS_KEY && -n $AWS_SESSION_TOKEN ]] ||
      fail 4 "The metadata service returned incomplete credentials of the role $role."
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

# s3_curl KEY BODY_SHA256 ANSWER CURL_ARGUMENT…: sends one signed request, writes the answer to the file ANSWER and prints the
# status. The limit is a rate of 1 KiB a second, not a time, because objects may be large. S3 requires the body's digest as a
# header, which curl before version 8 does not send.
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

# s3_outcome CODE ANSWER CURL_STDERR: sets S3_OUTCOME to `ok`, `retry` or `failed`, from S3_STATUS and curl's exit CODE, and
# S3_REASON to S3's code and message. A denial is retried: the policy of a new role takes some seconds to apply everywhere.
s3_outcome() {
  local code message
  S3_REASON=$(tail -n 1 "$3")
  S3_CODE=''
  case $S3_STATUS in
    2??) if (($1 == 0)); then S3_OUTCOME=ok; else S3_OUTCOME=retry; fi ;;
    3??)
      S3_REASON="the bucket $S3_BUCKET is not in $AWS_REGION" S3_OUTCOME=failed
      ;;
    *)
      if [[ -f $2 ]]; then
        # The answer may be binary and of any length.
        code=$(head -c 4096 "$2" | tr -d '\0\r\n' | sed -nE 's/.*<Code>([A-Za-z0-9.]+)<\/Code>.*/\1/p')
        message=$(head -c 4096 "$2" | tr -d '\0\r\n' | sed -nE 's/.*<Message>([^<]{1,300})<\/Message>.*/\1/p')
        S3_CODE=$code
        if [[ -n $code ]]; then S3_REASON="$code${message:+: $message}"; fi
      fi
      [[ -n $S3_REASON ]] || S3_REASON='S3 gave no reason'
      case $S3_STATUS in
        400 | 403 | 408 | 409 | 429 | 5?? | 000) S3_OUTCOME=retry ;;
        *) S3_OUTCOME=failed ;;
      esac
      ;;
  esac
}

# s3_get KEY FILE [fresh]: fetches an object. An interrupted transfer resumes, also in a later run; `fresh` prevents that, for
# an object that may be replaced meanwhile: FILE would hold parts of two objects.
# Sets S3_STATUS and, on failure, S3_CODE and S3_REASON. Returns 1 if the object does not exist, 4 if S3 denies it or can't be
# reached.
s3_get() {
  local key=$1 file=$2 attempt code errors answer
  errors=$(mktemp) || fail 1 "A temporary file can't be created in ${TMPDIR:-/tmp}."
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
    S3_STATUS=$(s3_curl "$key" "$NO_BODY" "$answer" ${S3_TIMEOUT:+--max-time "$S3_TIMEOUT"} ${resume[@]+"${resume[@]}"} 2>"$errors") || code=$?
    S3_STATUS=${S3_STATUS:-000}
    s3_outcome "$code" "$answer" "$errors"
    if [[ $S3_STATUS == 2?? ]]; then
      # A server without ranges answers 200 with the whole object.
      if [[ $answer != "$file" && -f $answer ]]; then
        if [[ $S3_STATUS == 206 ]]; then cat "$answer" >>"$file"; else mv -f "$answer" "$file"; fi
      fi
    elif [[ $answer == "$file" && $S3_STATUS != 000 || $S3_STATUS == 416 ]]; then
      # The file is an error's text, or (416) the start of an older, longer object.
      rm -f "$file"
    fi
    if [[ $S3_STATUS == 416 ]]; then continue; fi
    if [[ $S3_OUTCOME != retry ]]; then break; fi
    if ((attempt < S3_ATTEMPTS)); then sleep "$((S3_PAUSE * attempt * attempt))"; fi
  done
  rm -f "$errors" "$file.more"
  if [[ $S3_OUTCOME == ok ]]; then return 0; fi
  if [[ $S3_STATUS == 404 && $S3_CODE != NoSuchBucket ]]; then return 1; fi
  return 4
}

# s3_put KEY FILE: stores a small object.
s3_put() {
  local key=$1 file=$2 attempt code errors answer digest
  if ! errors=$(mktemp) || ! answer=$(mktemp); then fail 1 "A temporary file can't be created in ${TMPDIR:-/tmp}."; fi
  digest=$(sha256sum <"$file" | cut -c 1-64)
  for ((attempt = 1; attempt <= S3_ATTEMPTS; attempt++)); do
    code=0
    S3_STATUS=$(s3_curl "$key" "$digest" "$answer" --max-time 15 --upload-file "$file" --header 'content-type: application/json' 2>"$errors") || code=$?
    S3_STATUS=${S3_STATUS:-000}
    s3_outcome "$code" "$answer" "$errors"
    if [[ $S3_OUTCOME != retry ]]; then break; fi
    if ((attempt < S3_ATTEMPTS)); then sleep "$((S3_PAUSE * attempt))"; fi
  done
  rm -f "$errors" "$answer"
  [[ $S3_OUTCOME == ok ]] || return 4
}
