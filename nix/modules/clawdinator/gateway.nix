# The gateway: the agent itself. It runs code for maintainers, so it is confined: its own user, no capabilities, no access to
# the instance's role, write access to three folders only.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  inherit (lib) mkOption types;
  hardening = import ../../lib/hardening.nix;
  json = pkgs.formats.json { };
  channels = import ../../lib/channels.nix { inherit lib; };

  # Credential of the unit → environment variable of the gateway.
  credentials = lib.filterAttrs (_: c: c.file != null) {
    discord-token = {
      file = cfg.discordTokenFile;
      variable = "DISCORD_BOT_TOKEN";
    };
    telegram-token = {
      file = cfg.telegramTokenFile;
      variable = "TELEGRAM_BOT_TOKEN";
    };
    anthropic-api-key = {
      file = cfg.anthropicApiKeyFile;
      variable = "ANTHROPIC_API_KEY";
    };
    openai-api-key = {
      file = cfg.openaiApiKeyFile;
      variable = "OPENAI_API_KEY";
    };
  };

  # Since 2026.9 the gateway drains for up to 315 seconds at its stop, and needs Node 24.
  drains = builtins.compareVersions (cfg.package.version or "0") "2026.9" >= 0;

  stage = import ../../lib/stage.nix {
    inherit lib pkgs;
    inherit (cfg) scripts;
  };

  path = [
    pkgs.bash
    pkgs.coreutils
    pkgs.curl
    pkgs.findutils
    pkgs.gh
    pkgs.git
    pkgs.gnugrep
    pkgs.gnused
    pkgs.gnutar
    pkgs.jq
    pkgs.python3
    pkgs.ripgrep
    pkgs.util-linux
    cfg.nodejs
    cfg.package
    cfg.clawctl
    "/run/current-system/sw"
  ]
  ++ cfg.tools
  ++ cfg.extraPackages;

  environment = {
    HOME = "${cfg.stateDir}/home";
    OPENCLAW_STATE_DIR = "${cfg.stateDir}/home/.openclaw";
    OPENCLAW_CONFIG_PATH = "${cfg.configFile}";
    # The gateway must not rewrite its configuration or install anything.
    OPENCLAW_NIX_MODE = "1";
    SHELL = "${lib.getExe pkgs.bash}";
    CLAWDINATOR_MEMORY_DIR = cfg.memoryDir;
    CLAWDINATOR_REPOS_DIR = "${cfg.stateDir}/repos";
  }
  // lib.optionalAttrs cfg.githubApp.enable {
    CLAWDINATOR_GITHUB_TOKEN_FILE = cfg.githubApp.tokenFile;
  };

  confinement = hardening.network // {
    User = cfg.user;
    Group = cfg.group;
    WorkingDirectory = cfg.workspaceDir;
    ReadWritePaths = [
      "${cfg.stateDir}/home"
      cfg.workspaceDir
      "-${cfg.memoryDir}"
    ];
    InaccessiblePaths = [
      "-${cfg.bootstrap.dir}"
      "-/etc/ec2-metadata"
    ];
    IPAddressDeny = hardening.metadataAddresses;
  };

  # The gateway needs the secrets of the first bundle.
  hasBundle = lib.optionalAttrs cfg.bootstrap.enable {
    ConditionPathExists = "${cfg.bootstrap.dir}/current/config.json";
  };

  # The unit of an active machine and, with skipChannels, that of a standby.
  gateway =
    {
      name,
      target,
      reports,
      skipChannels,
    }:
    {
      description = "CLAWDINATOR gateway${lib.optionalString skipChannels ", without channels"}";
      wantedBy = [ "${target}.target" ];
      partOf = [ "${target}.target" ];
      # Both use the same port and state directory.
      conflicts = lib.optional (
        !skipChannels && cfg.bootstrap.enable
      ) "clawdinator-gateway-standby.service";
      wants = [
        "network-online.target"
        "clawdinator-workspace.service"
        "clawdinator-memory-init.service"
      ];
      after = [
        "network-online.target"
        "clawdinator-workspace.service"
        "clawdinator-memory-init.service"
      ]
      ++ lib.optionals cfg.bootstrap.enable [
        "clawdinator-bootstrap.service"
        "clawdinator-secrets.service"
        "clawdinator-repo-seed.service"
      ]
      ++ lib.optional (!skipChannels && cfg.bootstrap.enable) "clawdinator-gateway-standby.service"
      ++ lib.optional cfg.githubApp.enable "clawdinator-github-token.service";
      # After ten starts in 15 minutes the unit fails, the heartbeat reports its last lines, and a deploy that waits for this
      # host rolls back. A new bundle starts it again.
      startLimitIntervalSec = 900;
      startLimitBurst = 10;
      unitConfig = hasBundle;
      inherit path;
      environment = environment // lib.optionalAttrs skipChannels { OPENCLAW_SKIP_CHANNELS = "1"; };
      serviceConfig =
        confinement
        // stage.reported reports name
        // {
          ExecStart = lib.concatStringsSep " " (
            [
              (lib.getExe pkgs.bash)
              "${cfg.scripts}/gateway-start.sh"
              (toString cfg.gatewayPort)
            ]
            ++ lib.mapAttrsToList (credential: c: "${credential}=${c.variable}") credentials
          );
          ExecStartPost = "+${lib.getExe pkgs.bash} ${cfg.scripts}/stage.sh probe";
          RuntimeDirectory = "clawdinator-gateway";
          RuntimeDirectoryMode = "0700";
          LoadCredential = lib.mapAttrsToList (credential: c: "${credential}:${c.file}") credentials;
          Restart = "always";
          RestartSec = 10;
          # The configuration is not valid; see scripts/gateway-start.sh.
          RestartPreventExitStatus = 78;
          TimeoutStopSec = if drains then 330 else 60;
          # Builds and test suites of maintainers' projects run here, and must not stop the host's other services.
          MemoryMax = "85%";
          TasksMax = 4096;
          OOMPolicy = "continue";
        };
    };
in
{
  options.services.clawdinator = {
    runtimePlugins = mkOption {
      type = types.listOf types.package;
      default = lib.optional (
        (cfg.config.channels.discord.enabled or false) && pkgs ? openclawRuntimePlugins.discord
      ) pkgs.openclawRuntimePlugins.discord;
      defaultText = lib.literalMD "the Discord plugin, if the gateway's packaging has it as a separate package";
      description = "Plugins that are separate packages. The gateway loads each and enables it by the id of its package.";
    };

    mcp.servers.clawctl = lib.mkEnableOption "the fleet's MCP tools for the agent (`clawctl mcp`), with the policy of clawctl's commands";

    nodejs = mkOption {
      type = types.package;
      default = if drains then pkgs.nodejs_24 else pkgs.nodejs_22;
      defaultText = lib.literalMD "the major version that the gateway needs";
      description = "Node.js for the agent's shell and for clawctl.";
    };

    configFile = mkOption {
      type = types.path;
      internal = true;
      readOnly = true;
      description = "The rendered openclaw.json.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.clawdinator = {
      configFile = json.generate "openclaw.json" (
        lib.recursiveUpdate (lib.optionalAttrs (cfg.runtimePlugins != [ ]) {
          plugins.load.paths = map toString cfg.runtimePlugins;
          # The gateway starts a plugin of a load path only if an entry enables it.
          plugins.entries =
            lib.genAttrs
              (lib.filter (id: id != null) (
                map (plugin: plugin.openclawRuntimePlugin.id or null) cfg.runtimePlugins
              ))
              (_: {
                enabled = true;
              });
        }) (channels.modern cfg.config)
      );
      config = {
        gateway = {
          mode = lib.mkDefault "local";
          bind = lib.mkDefault "loopback";
          port = lib.mkDefault cfg.gatewayPort;
          auth.mode = lib.mkDefault "token";
        };
        agents.defaults.workspace = lib.mkDefault cfg.workspaceDir;
        mcp.servers = lib.mkIf cfg.mcp.servers.clawctl {
          clawctl = lib.mapAttrs (_: lib.mkDefault) {
            command = lib.getExe cfg.clawctl;
            args = [ "mcp" ];
          };
        };
      };
    };

    warnings = map (
      place:
      "services.clawdinator.config.${place}.allow is an older name, which today's gateway refuses. Write `enabled`; until then the module translates it."
    ) (channels.legacy cfg.config);

    environment.systemPackages = cfg.tools ++ [ cfg.clawctl ];

    systemd.services.clawdinator-gateway = gateway {
      name = "clawdinator-gateway.service";
      target = "clawdinator-active";
      reports = "active";
      skipChannels = false;
    };

    systemd.services.clawdinator-gateway-standby = lib.mkIf cfg.bootstrap.enable (gateway {
      name = "clawdinator-gateway-standby.service";
      target = "clawdinator-standby";
      reports = "standby";
      skipChannels = true;
    });

    # The gateway is ready without its channels, so the heartbeat needs this probe of them.
    systemd.services.clawdinator-gateway-probe = {
      description = "Probe the gateway's channels and plugins";
      unitConfig = hasBundle;
      inherit path;
      environment = environment // {
        PROBE_SERVICE = "clawdinator-gateway.service";
      };
      serviceConfig = confinement // {
        Type = "oneshot";
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/gateway-probe.sh";
        ExecStartPost = lib.optional cfg.heartbeat.enable "+${lib.getExe pkgs.bash} ${cfg.scripts}/stage.sh beat";
        RuntimeDirectory = "clawdinator-probe";
        RuntimeDirectoryPreserve = true;
        TimeoutStartSec = "4min";
        SyslogLevel = "notice";
        LogLevelMax = "notice";
        UMask = "0022";
      };
    };

    systemd.timers.clawdinator-gateway-probe = {
      description = "Probe the gateway's channels and plugins";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "30s";
        OnUnitInactiveSec = "45s";
        AccuracySec = "5s";
      };
    };
  };
}
