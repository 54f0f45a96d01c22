/** Paths in a checkout of the fleet, for the CLI, the Control API and the sandbox. */
export const REGISTRY_PATH = 'nix/instances.json'
/** `<id>.nix` of every instance, and common.nix, which they share. */
export const HOSTS_PATH = 'nix/hosts'
export const FLEET_STACK_PATH = 'infra/opentofu/aws/fleet'
/** File name below .github/workflows. */
export const DEPLOY_WORKFLOW = 'fleet-deploy.yml'
export const BUNDLE_WORKFLOW = 'bootstrap-upload.yml'
export const IMAGE_WORKFLOW = 'image-build.yml'

/** Default of GITHUB_REPO. */
export const DEFAULT_REPOSITORY = 'openclaw/clawdinators'

/** Key of the fleet stack's state in the bucket. */
export const FLEET_STATE_KEY = 'state/fleet.tfstate'
/** GitHub's folder of workflows. */
export const WORKFLOW_FOLDER = '.github/workflows'
/** Settings of one fleet, such as the hosts' GitHub App. */
export const SITE_PATH = 'nix/site.nix'
