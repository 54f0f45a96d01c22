# shellcheck shell=bash
# The shared memory: a folder of text files that several hosts read and write over NFS. A change takes the file's exclusive
# lock and replaces the file atomically, so that no line of concurrent writers is lost.
# Exit codes beyond clawctl's: 3 the text is not as expected, 5 locked too long.

MEMORY_LIMIT=$((1024 * 1024))

# memory_open PATH: sets MEMORY_ROOT, MEMORY_FILE (absolute) and MEMORY_LOCK. Refuses a PATH that leads out of the memory.
memory_open() {
  local path=$1 resolved
  MEMORY_ROOT=${CLAWDINATOR_MEMORY_DIR:-$(host_path /var/lib/clawd/memory)}
  MEMORY_ROOT=$(realpath -e -- "$MEMORY_ROOT" 2>/dev/null) ||
    fail 4 "There is no memory at ${CLAWDINATOR_MEMORY_DIR:-/var/lib/clawd/memory}." "It may not be mounted. If this stays, replace the host: clawctl fleet deploy $(instance_id)"
  [[ -n $path ]] || fail 2 'The path is empty.'
  [[ $path != /* ]] || fail 2 "\"$path\" is absolute; paths are relative to the memory, such as project.md."
  [[ ! $path =~ [[:cntrl:]] ]] || fail 2 'The path contains a control character.'
  [[ ! /$path/ =~ /\. ]] || fail 2 "\"$path\" has a part that begins with a dot; these names are reserved."
  [[ $path != */ ]] || fail 2 "\"$path\" names a folder, not a file."
  # Names have at most 255 bytes, and .NAME.XXXXXX.new has 12 more than NAME.
  local LC_ALL=C
  [[ ! $path =~ [^/]{240} ]] || fail 2 'A part of the path is longer than 239 bytes.'
  resolved=$(realpath -m -- "$MEMORY_ROOT/$path")
  [[ $resolved == "$MEMORY_ROOT"/* ]] || fail 2 "\"$path\" leads out of the memory."
  [[ ! -e $resolved || -f $resolved || -d $resolved ]] || fail 2 "\"$path\" is neither a file nor a folder."
  MEMORY_FILE=$resolved
  MEMORY_LOCK=${resolved%/*}/.${resolved##*/}.lock
}

# memory_lock -s|-x: takes the lock on descriptor 9 until the program ends. NFS needs a writable descriptor for both kinds.
# flock is repeated every two seconds: the kernel's NFS client retries after 1, 2, 4 … 30 seconds, and loses to faster ones.
memory_lock() {
  local seconds=${MEMORY_LOCK_SECONDS:-30} left
  if ! { exec 9<>"$MEMORY_LOCK"; } 2>/dev/null; then
    # A reader without write permission needs no lock: files are replaced atomically.
    if [[ $1 == -s ]]; then return 0; fi
    fail 4 "The memory can't be written: $MEMORY_LOCK."
  fi
  for ((left = seconds; left > 0; left -= 2)); do
    if flock "$1" -w "$((left < 2 ? left : 2))" 9; then return 0; fi
  done
  fail 5 "\"${MEMORY_FILE#"$MEMORY_ROOT/"}\" was locked for $seconds seconds." 'Try again.'
}

memory_digest() {
  sha256sum <"$1" | cut -c 1-64
}

# memory_replace NEW: replaces MEMORY_FILE by NEW, a file of the same folder.
memory_replace() {
  local size
  size=$(wc -c <"$1")
  ((size <= MEMORY_LIMIT)) || fail 2 "The file would have $size bytes; the limit is $MEMORY_LIMIT." 'Move old entries to another file.'
  chmod 0640 "$1"
  sync "$1"
  mv -fT "$1" "$MEMORY_FILE"
  sync "${MEMORY_FILE%/*}"
}

# Creates a file beside MEMORY_FILE, which is removed at exit. Sets MEMORY_NEW. Needs the exclusive lock: any other file
# with such a name is left from a killed writer.
memory_new() {
  rm -f -- "${MEMORY_FILE%/*}/.${MEMORY_FILE##*/}."??????.new
  MEMORY_NEW=$(mktemp "${MEMORY_FILE%/*}/.${MEMORY_FILE##*/}.XXXXXX.new") || fail 4 'The memory can'\''t be written.'
  trap 'rm -f "$MEMORY_NEW"' EXIT
}
