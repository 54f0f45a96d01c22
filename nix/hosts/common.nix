# Settings of all hosts. nix/instances.json lists the hosts, nix/site.nix has the settings of the fleet.
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
  telegramTokenSecret = "clawdinator-telegram-token-${cfg.instanceName}";

  # Owners of the decrypted secrets; default: root. The gateway gets its secrets as systemd credentials.
  secrets = {
    ${entry.discordTokenSecret} = { };
    anthropic-api-key = { };
    openai-api-key = { };
    # scripts/fleet-control.sh reads it as the agent's user.
    clawdinator-control-token = {
      owner = cfg.user;
      inherit (cfg) group;
    };
  }
  // lib.optionalAttrs cfg.githubApp.enable { github-app-key = { }; }
  // lib.optionalAttrs (site.telegram != null) { ${telegramTokenSecret} = { }; };
in
{
  imports = [
    "${modulesPath}/virtualisation/amazon-image.nix"
    ../modules/clawdinator.nix
    ../base.nix
  ];

  networking.hostName = entry.host;

  # Paths on the host, not in the Nix store: the ciphertext and the age identity are in the bundle.
  age.identityPaths = [ "${bundle}/secrets/age-identity.key" ];
  age.secrets = lib.mapAttrs (
    name: access: access // { file = "${bundle}/secrets/${name}.age"; }
  ) secrets;

  # mkDefault: a host's own file may override it.
  services.clawdinator = {
    enable = lib.mkDefault true;

    bootstrap = lib.mapAttrs (_: lib.mkDefault) { inherit (site) bucket region; };
    repoSeeds = lib.mkDefault [ "clawdinators" ];

    discordTokenFile = lib.mkDefault config.age.secrets.${entry.discordTokenSecret}.path;
    anthropicApiKeyFile = lib.mkDefault config.age.secrets.anthropic-api-key.path;
    openaiApiKeyFile = lib.mkDefault config.age.secrets.openai-api-key.path;
    telegramTokenFile = lib.mkIf (site.telegram != null) (
      lib.mkDefault config.age.secrets.${telegramTokenSecret}.path
    );

    config = {
      channels.discord = {
        enabled = lib.mkDefault true;
        dm.enabled = lib.mkDefault false;
        groupPolicy = lib.mkDefault "allowlist";
        guilds = lib.mkDefault site.discordGuilds;
      };
      # The agent answers only listed people, in direct messages and in groups.
      channels.telegram = lib.mkIf (site.telegram != null) (
        lib.mapAttrs (_: lib.mkDefault) {
          enabled = true;
          dmPolicy = "allowlist";
          groupPolicy = "allowlist";
          inherit (site.telegram) allowFrom;
          groupAllowFrom = site.telegram.groupAllowFrom or site.telegram.allowFrom;
          groups = site.telegram.groups or { };
        }
      );
    };

    githubApp = lib.mkIf (site.githubApp != null) {
      enable = lib.mkDefault true;
      appId = lib.mkDefault site.githubApp.appId;
      installationId = lib.mkDefault site.githubApp.installationId;
      privateKeyFile = lib.mkDefault config.age.secrets.github-app-key.path;
    };
    githubSync = lib.mkIf (site.githubApp != null) {
      enable = lib.mkDefault true;
      org = lib.mkDefault site.githubOrg;
    };

    memoryEfs = lib.mkIf (site.memoryFileSystemId != null) {
      enable = lib.mkDefault true;
      fileSystemId = lib.mkDefault site.memoryFileSystemId;
      region = lib.mkDefault site.region;
    };

    selfUpdate.enable = lib.mkDefault true;
  };
}
