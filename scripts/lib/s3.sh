# shellcheck shell=bash
# shellcheck disable=SC2034 # S3_SAID is for the caller's message
# S3 with nothing but curl, which signs by itself: the AWS CLI would be 300 MB of image for two requests. Credentials go to
# curl on its standard input, never into an argument, which every process may read.
# Asks AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; else the instance's role. AWS_ENDPOINT_URL_S3 as for the SDKs.

IMDS=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
S3_ATTEMPTS=${S3_ATTEMPTS:-5}
S3_PAUSE=${S3_PAUSE:-1}
NO_BODY=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

# imds PATH: one value of the instance's metadata (IMDSv2).
imds() {
  local token
  token=$(curl -sS --fail --max-time 5 --retry 3 --retry-connrefused -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$IMDS/latest/api/token") || return 1
  printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" |
    curl -sS --fail --max-time 5 --retry 3 --retry-connrefused --config - "$IMDS/latest/meta-data/$1"
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

# s3_curl KEY BODY_SHA256 CURL_ARGUMENT…: one signed request, prints the status. An object may be large: it may take as
# long as it moves, 1 KiB a second at least. S3 wants the body's digest as a header; curl before 8 does not send it by itself.
s3_curl() {
  local key=$1 digest=$2
  shift 2
  {
    printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "${AWS_SECRET_ACCESS_KEY//[\"\\]/}"
    if [[ -n ${AWS_SESSION_TOKEN:-} ]]; then printf 'header = "x-amz-security-token: %s"\n' "$AWS_SESSION_TOKEN"; fi
  } | curl --config - --silent --show-error --fail --proto =http,https --path-as-is \
    --aws-sigv4 "aws:amz:$AWS_REGION:s3" --header "x-amz-content-sha256: $digest" --connect-timeout 10 --speed-limit 1024 --speed-time 30 \
    --write-out '%{http_code}' "$@" "$(s3_url "$key")"
}

# Whether the request should be made again, by its status.
s3_transient() {
  case $1 in
    408 | 429 | 5?? | 000 | 200 | 206) return 0 ;;
    *) return 1 ;;
  esac
}

# s3_moved FILE SAID: whether S3 sent us elsewhere, which is no object: the bucket lies in another region.
s3_moved() {
  [[ $S3_STATUS == 3?? ]] || return 1
  if [[ -f $1 ]]; then rm -f "$1"; fi
  printf 'the bucket %s is not in %s\n' "$S3_BUCKET" "$AWS_REGION" >"$2"
}

# s3_get KEY FILE [fresh]: fetches an object, as often as it takes; an interrupted one goes on where it stopped, also in a
# later run. One that may be replaced under its name has to be fetched fresh, or it would be sewn together of two. Sets S3_STATUS and, on failure, S3_SAID. Returns 1 where there is no such object, 4 where S3 denies it or can't be reached.
s3_get() {
  local key=$1 file=$2 attempt said
  said=$(mktemp)
  for ((attempt = 1; attempt <= S3_ATTEMPTS; attempt++)); do
    local resume=()
    if [[ ${3:-} == fresh ]]; then rm -f "$file"; fi
    if [[ -s $file ]]; then resume=(--continue-at -); fi
    if S3_STATUS=$(s3_curl "$key" "$NO_BODY" ${resume[@]+"${resume[@]}"} --output "$file" 2>"$said"); then
      s3_moved "$file" "$said" && break
      rm -f "$said"
      return 0
    fi
    S3_STATUS=${S3_STATUS:-000}
    # What is there is longer than the object: it was another one.
    if [[ $S3_STATUS == 416 ]] || grep -q 'byte ranges' "$said"; then
      rm -f "$file"
      continue
    fi
    s3_transient "$S3_STATUS" || break
    if ((attempt < S3_ATTEMPTS)); then sleep "$((S3_PAUSE * attempt * attempt))"; fi
  done
  S3_SAID=$(tail -n 1 "$said")
  rm -f "$said"
  if [[ $S3_STATUS == 404 ]]; then return 1; fi
  return 4
}

# s3_put KEY FILE: stores a small object.
s3_put() {
  local key=$1 file=$2 attempt said digest
  said=$(mktemp)
  digest=$(sha256sum <"$file" | cut -c 1-64)
  for ((attempt = 1; attempt <= S3_ATTEMPTS; attempt++)); do
    if S3_STATUS=$(s3_curl "$key" "$digest" --max-time 15 --upload-file "$file" --header 'content-type: application/json' \
      --output /dev/null 2>"$said"); then
      s3_moved /dev/null "$said" && break
      rm -f "$said"
      return 0
    fi
    s3_transient "${S3_STATUS:-000}" || break
    if ((attempt < S3_ATTEMPTS)); then sleep "$((S3_PAUSE * attempt))"; fi
  done
  S3_SAID=$(tail -n 1 "$said")
  rm -f "$said"
  return 4
}
