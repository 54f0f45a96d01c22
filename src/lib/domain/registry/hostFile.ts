import { HOSTS_PATH } from '../paths.js'

export const hostFilePath = (id: string) => `${HOSTS_PATH}/${id}.nix`

/** What every new host begins with; the flake gives it its values from the registry. */
export function hostFileText(id: string): string {
  return `# ${id}: what this host has beyond nix/instances.json and common.nix.
{ ... }:
{
  imports = [ ./common.nix ];
}
`
}

/** Whether somebody has written into it since; a checkout may have other line ends. */
export function isScaffold(id: string, text: string): boolean {
  return text.replaceAll('\r\n', '\n') === hostFileText(id)
}
