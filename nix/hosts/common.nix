# What all hosts share. nix/instances.json says which there are, nix/site.nix where they live; a host's own file holds
# only what it has beyond that.
{
  config,
  lib,
  modulesPath,
  ...
}:
let
  cfg = config.services.clawdinator;
  site = import ../site.nix;
  registry = (import ../lib).readRegistry ../instances.json;
  entry =
    registry.${cfg.instanceName}
      or (throw "nix/instances.json has no instance \"${cfg.instanceName}\". Add it: clawctl registry add ${cfg.instanceName}");
  bundle = "${cfg.bootstrap.dir}/current";

  # Who may read a decrypted secret beside root. The gateway's own reach it as systemd credentials.
  secrets = {
    ${entry.discordTokenSecret} = { };
    anthropic-api-key = { };
    openai-api-key = { };
    # scripts/fleet-control.sh reads it, in the agent's name.
    clawdinator-control-token = {
      owner = cfg.user;
      inherit (cfg) group;
    };
  }
  // lib.optionalAttrs cfg.githubApp.enable { github-app-key = { }; };
in
{
  imports = [
    "${modulesPath}/virtualisation/amazon-image.nix"
    ../modules/clawdinator.nix
    ../base.nix
  ];

  networking.hostName = entry.host;

  # Paths on the host, not in the store: the bundle brings the ciphertext and the identity.
  age.identityPaths = [ "${bundle}/secrets/age-identity.key" ];
  age.secrets = lib.mapAttrs (name: access: access // { file = "${bundle}/secrets/${name}.age"; }) secrets;

  services.clawdinator = {
    enable = true;

    bootstrap = { inherit (site) bucket region; };
    repoSeeds = [ "clawdinators" ];

    discordTokenFile = config.age.secrets.${entry.discordTokenSecret}.path;
    anthropicApiKeyFile = config.age.secrets.anthropic-api-key.path;
    openaiApiKeyFile = config.age.secrets.openai-api-key.path;

    config = {
      channels.discord = {
        enabled = true;
        dm.enabled = false;
        groupPolicy = "allowlist";
        guilds = site.discordGuilds;
      };
    };

    githubApp = lib.mkIf (site.githubApp != null) {
      enable = true;
      inherit (site.githubApp) appId installationId;
      privateKeyFile = config.age.secrets.github-app-key.path;
    };
    githubSync = lib.mkIf (site.githubApp != null) {
      enable = true;
      org = site.githubOrg;
    };

    memoryEfs = lib.mkIf (site.memoryFileSystemId != null) {
      enable = true;
      fileSystemId = site.memoryFileSystemId;
      inherit (site) region;
    };

    selfUpdate.enable = true;
  };
}
