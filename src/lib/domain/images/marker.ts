/** The line that the base image prints on the serial console when it is up; nix/image.nix has the same. */
export const BOOT_MARKER = 'clawdinator-image: booted'
