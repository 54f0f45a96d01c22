import { HOSTS_PATH } from '../paths.js'

/** What the hosts share; imported by them, and no host of its own. */
export const SHARED_HOST_FILES: readonly string[] = ['common', 'default']

export const hostFilePath = (id: string) => `${HOSTS_PATH}/${id}.nix`

/** What every new host begins with: common.nix gives it its values from the registry by this name. */
export function hostFileText(id: string): string {
  return `# ${id}. What all hosts share is in common.nix; what is this one's alone goes here.
{
  imports = [ ./common.nix ];

  services.clawdinator.instanceName = "${id}";
}
`
}

/** Whether somebody has written into it since; a checkout may have other line ends. */
export function isScaffold(id: string, text: string): boolean {
  return text.replaceAll('\r\n', '\n') === hostFileText(id)
}
