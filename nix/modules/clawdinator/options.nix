# What concerns the agent as a whole. Options of one unit are declared beside that unit.
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

  # A copy of the scripts alone: a change elsewhere in the checkout restarts no unit.
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
      description = "File that holds ${what}. Read as a systemd credential by the one unit that needs it.";
    };
in
{
  options.services.clawdinator = {
    enable = lib.mkEnableOption "a CLAWDINATOR: the agent's gateway and what keeps it alive";

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
        The gateway's own configuration (openclaw.json). Definitions are merged deeply, over defaults that a
        definition replaces value by value. It lands in the Nix store: secrets do not belong here. The gateway's own
        validator checks it before each start (`openclaw config validate`), and `nix flake check` does for every host.
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
          or (throw "services.clawdinator.package: nixpkgs here has no openclaw-gateway. Import nixosModules.default, which adds it, or set the package.");
      defaultText = lib.literalExpression "pkgs.openclaw-gateway";
      description = "The gateway. Its program is `openclaw`.";
    };

    clawctl = mkOption {
      type = types.package;
      default = pkgs.callPackage ../../packages/clawctl.nix { inherit (cfg) nodejs; };
      defaultText = lib.literalExpression "pkgs.callPackage ./nix/packages/clawctl.nix { }";
      description = "The operator tool, which the agent calls and which mints GitHub tokens.";
    };

    extraPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Further programs that the agent may run.";
    };

    user = mkOption {
      type = types.str;
      default = "clawd";
      description = "User of the gateway. Made here where it has the default's name.";
    };

    group = mkOption {
      type = types.str;
      default = "clawd";
      description = "Group of the gateway, and of what it may read.";
    };

    uid = mkOption {
      type = types.ints.between 1 59999;
      default = 850;
      description = "Number of the user and the group: the same on every host, because they share memory over NFS.";
    };

    stateDir = mkOption {
      type = types.path;
      default = "/var/lib/clawd";
      description = ''
        Where the agent lives. The folder itself belongs to root: it holds `repos/`, which nixos-rebuild trusts.
        The agent writes in `home/`, `workspace/` and `memory/` below it.
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
      description = "Commands for the agent, made of scripts/.";
    };

    scripts = mkOption {
      type = types.path;
      internal = true;
      readOnly = true;
      description = "The scripts, in the store.";
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
        message = "services.clawdinator: without anthropicApiKeyFile or openaiApiKeyFile the agent has no model to ask.";
      }
      {
        assertion = lib.all (file: file == null || !lib.hasPrefix "${builtins.storeDir}/" file) [
          cfg.discordTokenFile
          cfg.telegramTokenFile
          cfg.anthropicApiKeyFile
          cfg.openaiApiKeyFile
        ];
        message = "services.clawdinator: a secret file lies in the Nix store, which every user can read. Use agenix.";
      }
      {
        assertion = cfg.user != "root" && cfg.group != "root";
        message = "services.clawdinator: the agent does not run as root.";
      }
      {
        assertion = config.users.users ? ${cfg.user} && config.users.groups ? ${cfg.group};
        message = "services.clawdinator: user ${cfg.user} and group ${cfg.group} must exist; only those called clawd are made here.";
      }
      {
        assertion =
          !lib.any lib.isString [
            (cfg.config.channels.discord.token or null)
            (cfg.config.channels.telegram.botToken or null)
            (cfg.config.gateway.auth.token or null)
          ];
        message = "services.clawdinator.config holds a token, and lands in the Nix store. Use discordTokenFile or telegramTokenFile.";
      }
    ];
  };
}
