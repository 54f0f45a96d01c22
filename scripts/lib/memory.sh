# shellcheck shell=bash
# The shared memory: a folder of text files that several hosts read and write over NFS.
# Every change takes the file's exclusive lock and replaces the file by a rename, so a reader sees the old text or the new
# one, and of two writers neither loses a line. Exit codes beyond clawctl's: 3 the text is not what you expected, 5 locked too long.

MEMORY_LIMIT=$((1024 * 1024))

# memory_open PATH: sets MEMORY_ROOT, MEMORY_FILE (absolute) and MEMORY_LOCK. PATH stays inside the memory, whatever it says.
memory_open() {
  local path=$1 resolved
  MEMORY_ROOT=${CLAWDINATOR_MEMORY_DIR:-$(host_path /var/lib/clawd/memory)}
  MEMORY_ROOT=$(realpath -e -- "$MEMORY_ROOT" 2>/dev/null) ||
    fail 4 "There is no memory at ${CLAWDINATOR_MEMORY_DIR:-/var/lib/clawd/memory}." 'It may not be mounted: systemctl status clawdinator-memory-init'
  [[ -n $path ]] || fail 2 'The path is empty.'
  [[ $path != /* ]] || fail 2 "\"$path\" is absolute; paths are relative to the memory, such as project.md."
  [[ ! $path =~ [[:cntrl:]] ]] || fail 2 'The path holds a control character.'
  [[ ! /$path/ =~ /\. ]] || fail 2 "\"$path\" has a part that begins with a dot; those are not yours."
  [[ $path != */ ]] || fail 2 "\"$path\" names a folder, and a file is wanted."
  # Beside a file NAME lie .NAME.lock and .NAME.XXXXXX.new; a name has 255 bytes.
  local LC_ALL=C
  [[ ! $path =~ [^/]{240} ]] || fail 2 'A part of the path is longer than 239 bytes.'
  resolved=$(realpath -m -- "$MEMORY_ROOT/$path")
  [[ $resolved == "$MEMORY_ROOT"/* ]] || fail 2 "\"$path\" leads out of the memory."
  [[ ! -e $resolved || -f $resolved || -d $resolved ]] || fail 2 "\"$path\" is neither a file nor a folder."
  MEMORY_FILE=$resolved
  MEMORY_LOCK=${resolved%/*}/.${resolved##*/}.lock
}

# memory_lock -s|-x: on descriptor 9, until the program ends. NFS wants a writable descriptor for either. It is asked for
# anew every two seconds: a client of NFS that waits in the kernel asks after 1, 2, 4 … 30 seconds, and starves among many.
memory_lock() {
  local seconds=${MEMORY_LOCK_SECONDS:-30} left
  if ! { exec 9<>"$MEMORY_LOCK"; } 2>/dev/null; then
    # A reader that may not write needs no lock: files are only ever replaced whole.
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

# memory_replace NEW: puts the file NEW, of the same folder, in MEMORY_FILE's place.
memory_replace() {
  local size
  size=$(wc -c <"$1")
  ((size <= MEMORY_LIMIT)) || fail 2 "The file would have $size bytes; at most $MEMORY_LIMIT." 'Move what is old to a file of its own.'
  chmod 0640 "$1"
  sync "$1"
  mv -fT "$1" "$MEMORY_FILE"
  sync "${MEMORY_FILE%/*}"
}

# A new file beside MEMORY_FILE; gone at the end whatever happens. Sets MEMORY_NEW.
memory_new() {
  MEMORY_NEW=$(mktemp "${MEMORY_FILE%/*}/.${MEMORY_FILE##*/}.XXXXXX.new") || fail 4 'The memory can'\''t be written.'
  trap 'rm -f "$MEMORY_NEW"' EXIT
}
