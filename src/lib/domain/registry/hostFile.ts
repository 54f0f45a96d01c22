import { HOSTS_PATH } from '../paths.js'

/** Imported by every host; not a host itself. */
export const SHARED_HOST_FILES: readonly string[] = ['common', 'default']

export const hostFilePath = (id: string) => `${HOSTS_PATH}/${id}.nix`

/** What every new host begins with: common.nix gives it its values from the registry by this name. */
export function hostFileText(id: string): string {
  return `# ${id}. Settings for this host only; common.nix has those of all hosts.
{
  imports = [ ./common.nix ];

  services.clawdinator.instanceName = "${id}";
}
`
}

/** Whether the file was edited since it was generated. Other line ends do not count. */
export function isScaffold(id: string, text: string): boolean {
  return text.replaceAll('\r\n', '\n') === hostFileText(id)
}
