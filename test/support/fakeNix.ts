import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** What the image of the fake nix is: 64 MiB, almost all of it a hole. */
export const FAKE_IMAGE = {
  bytes: 64 * 1024 * 1024,
  toplevel: '/nix/store/00000000000000000000000000000000-nixos-system',
}

/** `$FAKE_NIX` says what goes wrong: fail, full, vhd, hang; `$FAKE_NIX_DIRTY` makes the tree a changed one. */
const SCRIPT = `#!/bin/bash
set -e
case "$1 $2" in
  "flake metadata")
    if [ -n "$FAKE_NIX_DIRTY" ]; then echo '{"dirtyRevision":"9d27b6ac10f35e84c6d9a7b81204f3e5d6c7b8a9-dirty"}'
    else echo '{"revision":"9d27b6ac10f35e84c6d9a7b81204f3e5d6c7b8a9"}'; fi
    exit ;;
  eval*) printf ${FAKE_IMAGE.toplevel}; exit ;;
  build*) ;;
  *) echo "error: unexpected: $*" >&2; exit 1 ;;
esac
for arg; do [ "$last" = --out-link ] && link=$arg; last=$arg; done
[ "$FAKE_NIX" = hang ] && { sleep 30 & trap "kill $!; exit 130" INT; }
echo "evaluating $last" >&2
case "$FAKE_NIX" in
  fail) echo 'error: attribute missing' >&2; exit 1 ;;
  full) echo 'error: writing to file: No space left on device' >&2; exit 1 ;;
  hang) wait ;;
esac
store=\${0%/*}/store
mkdir -p "$store/nix-support"
image=$store/nixos-amazon-image.raw
rm -f "$image"
truncate -s ${FAKE_IMAGE.bytes} "$image"
# a boot sector and some data behind a hole
printf '\\x55\\xaa' | dd of="$image" bs=1 seek=510 conv=notrunc status=none
head -c 700000 /dev/zero | tr '\\0' 'x' | dd of="$image" bs=1M seek=8 conv=notrunc status=none
if [ "$FAKE_NIX" = vhd ]; then printf conectix | dd of="$image" bs=1 seek=$((${FAKE_IMAGE.bytes} - 512)) conv=notrunc status=none; fi
printf '{"label":"nixos","boot_mode":"legacy-bios","system":"x86_64-linux","logical_bytes":"${FAKE_IMAGE.bytes}","file":"%s"}' "$image" > "$store/nix-support/image-info.json"
ln -sfn "$store" "$link"
printf '[{"drvPath":"x.drv","outputs":{"out":"%s"}}]' "$store"
`

/** Puts a program \`nix\` that builds a small image into a folder, which is made. */
export async function writeFakeNix(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'nix'), SCRIPT)
  await chmod(join(folder, 'nix'), 0o755)
}
