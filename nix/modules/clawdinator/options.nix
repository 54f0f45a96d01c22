# Options that several units use. Options of one unit are declared beside that unit.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  inherit (lib) mkOption types;
  json = pkgs.formats.json { };

  # Only the scripts: a change elsewhere in the checkout must not restart units.
  scripts = builtins.path {
    name = "clawdinator-scripts";
    path = ../../../scripts;
    filter = path: type: type == "directory" || lib.hasSuffix ".sh" path || lib.hasSuffix ".jq" path;
  };

  secretFile =
    what: example:
    mkOption {
      type = types.nullOr types.str;
      default = null;
      inherit example;
      description = "File with ${what}. Only the unit that needs it reads it, as a systemd credential.";
    };
in
{
  options.services.clawdinator = {
    enable = lib.mkEnableOption "a CLAWDINATOR: the agent's gateway and the units that support it";

    instanceName = mkOption {
      type = types.strMatching "[a-z][a-z0-9-]{0,62}";
      example = "clawdinator-1";
      description = "Id of this instance in nix/instances.json.";
    };

    config = mkOption {
      inherit (json) type;
      default = { };
      example = lib.literalExpression ''
        {
          channels.discord = {
            enabled = true;
            dm.enabled = false;
            groupPolicy = "allowlist";
            guilds."<GUILD_ID>".channels."<CHANNEL_ID>".enabled = true;
          };
        }
      '';
      description = ''
        The gateway's configuration (openclaw.json). Definitions are merged deeply and override single defaults. The file
        is in the Nix store, which every user can read: do not write secrets here. The gateway's validator
        (`openclaw config validate`) checks it before each start, and `nix flake check` checks it for every host.
      '';
    };

    discordTokenFile = secretFile "the Discord bot token" "/run/agenix/clawdinator-discord-token-1";
    telegramTokenFile = secretFile "the Telegram bot token" "/run/agenix/clawdinator-telegram-token-1";
    anthropicApiKeyFile = secretFile "the Anthropic API key" "/run/agenix/anthropic-api-key";
    openaiApiKeyFile = secretFile "the OpenAI API key" "/run/agenix/openai-api-key";

    package = mkOption {
      type = types.package;
      default =
        pkgs.openclaw-gateway
          or (throw "services.clawdinator.package: nixpkgs has no openclaw-gateway. Import nixosModules.default, which adds it, or set the package.");
      defaultText = lib.literalExpression "pkgs.openclaw-gateway";
      description = "The gateway. Its program is `openclaw`.";
    };

    clawctl = mkOption {
      type = types.package;
      default = pkgs.callPackage ../../packages/clawctl.nix { inherit (cfg) nodejs; };
      defaultText = lib.literalExpression "pkgs.callPackage ./nix/packages/clawctl.nix { }";
      description = "The package of clawctl. The agent calls it, and it mints the GitHub tokens.";
    };

    extraPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "More programs in the agent's PATH.";
    };

    user = mkOption {
      type = types.str;
      default = "clawd";
      description = "User of the gateway. The module creates only the default user.";
    };

    group = mkOption {
      type = types.str;
      default = "clawd";
      description = "Group of the gateway, and of the files that it may read.";
    };

    uid = mkOption {
      type = types.ints.between 1 59999;
      default = 850;
      description = "Id of the user and the group. It must be the same on every host, because hosts share the memory over NFS.";
    };

    stateDir = mkOption {
      type = types.path;
      default = "/var/lib/clawd";
      description = ''
        The agent's folder. It belongs to root, because nixos-rebuild trusts `repos/` in it. The agent writes to `home/`,
        `workspace/` and `memory/` in it.
      '';
    };

    gatewayPort = mkOption {
      type = types.port;
      default = 18789;
      description = "Port of the gateway, on loopback.";
    };

    tools = mkOption {
      type = types.listOf types.package;
      internal = true;
      readOnly = true;
      description = "Commands of scripts/ for the agent.";
    };

    scripts = mkOption {
      type = types.path;
      internal = true;
      readOnly = true;
      description = "The scripts in the Nix store.";
    };
  };

  config = {
    services.clawdinator = {
      inherit scripts;
      tools =
        map
          (
            name:
            pkgs.writeShellScriptBin name ''
              exec ${lib.getExe pkgs.bash} ${scripts}/${name}.sh "$@"
            ''
          )
          [
            "fleet-control"
            "memory-read"
            "memory-write"
            "memory-edit"
          ];
    };

    assertions = lib.mkIf cfg.enable [
      {
        assertion = cfg.discordTokenFile != null || !(cfg.config.channels.discord.enabled or false);
        message = "services.clawdinator: config.channels.discord.enabled needs discordTokenFile.";
      }
      {
        assertion = cfg.telegramTokenFile != null || !(cfg.config.channels.telegram.enabled or false);
        message = "services.clawdinator: config.channels.telegram.enabled needs telegramTokenFile.";
      }
      {
        assertion = cfg.anthropicApiKeyFile != null || cfg.openaiApiKeyFile != null;
        message = "services.clawdinator: the agent has no model. Set anthropicApiKeyFile or openaiApiKeyFile.";
      }
      {
        assertion = lib.all (file: file == null || !lib.hasPrefix "${builtins.storeDir}/" file) [
          cfg.discordTokenFile
          cfg.telegramTokenFile
          cfg.anthropicApiKeyFile
          cfg.openaiApiKeyFile
        ];
        message = "services.clawdinator: a secret file is in the Nix store, which every user can read. Use agenix.";
      }
      {
        assertion = cfg.user != "root" && cfg.group != "root";
        message = "services.clawdinator: the agent must not run as root. Set user and group to others.";
      }
      {
        assertion = config.users.users ? ${cfg.user} && config.users.groups ? ${cfg.group};
        message = "services.clawdinator: user ${cfg.user} or group ${cfg.group} does not exist. Define them; the module creates only `clawd`.";
      }
      {
        assertion =
          !lib.any lib.isString [
            (cfg.config.channels.discord.token or null)
            (cfg.config.channels.telegram.botToken or null)
            (cfg.config.gateway.auth.token or null)
          ];
        message = "services.clawdinator.config contains a token, and is in the Nix store, which every user can read. Use discordTokenFile or telegramTokenFile.";
      }
    ];
  };
}
