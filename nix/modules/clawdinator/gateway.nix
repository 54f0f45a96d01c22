# The gateway: the agent itself. Runs code for maintainers, so it is shut in: its own user, no capability, no way to the
# instance's role, and only its three folders to write in.
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

  # Credential of the unit → variable that the gateway reads it from.
  credentials = lib.filterAttrs (_: c: c.file != null) {
    discord-token = {
      file = cfg.discordTokenFile;
      variable = "DISCORD_BOT_TOKEN";
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

  start = pkgs.writeShellScript "clawdinator-gateway" ''
    set -euo pipefail
    read_credential() {
      local value
      value=$(cat "$CREDENTIALS_DIRECTORY/$1")
      if [ -z "$value" ]; then
        echo "the secret $1 is empty" >&2
        exit 1
      fi
      printf -v "$2" %s "$value"
      export "''${2?}"
    }
    ${lib.concatStringsSep "\n" (
      lib.mapAttrsToList (name: c: "read_credential ${name} ${c.variable}") credentials
    )}
    # Clients on this host find it here; it is another one at every start.
    OPENCLAW_GATEWAY_TOKEN=$(head -c 32 /dev/urandom | sha256sum | cut -d ' ' -f 1)
    export OPENCLAW_GATEWAY_TOKEN
    printf '%s\n' "$OPENCLAW_GATEWAY_TOKEN" >"$RUNTIME_DIRECTORY/token"
    exec ${lib.getExe' cfg.package "openclaw"} gateway --port ${toString cfg.gatewayPort}
  '';
in
{
  options.services.clawdinator = {
    runtimePlugins = mkOption {
      type = types.listOf types.package;
      default = lib.optional (
        (cfg.config.channels.discord.enabled or false) && pkgs ? openclawRuntimePlugins.discord
      ) pkgs.openclawRuntimePlugins.discord;
      defaultText = lib.literalMD "the Discord plugin, where the gateway's packaging has it apart";
      description = "Plugins of the gateway that are packaged apart from it. Each is loaded, and enabled by the id it is packaged with.";
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
          # One that is found on a path only starts where an entry says so.
          plugins.entries = lib.genAttrs (lib.filter (id: id != null) (
            map (plugin: plugin.openclawRuntimePlugin.id or null) cfg.runtimePlugins
          )) (_: { enabled = true; });
        }) cfg.config
      );
      config = {
        gateway = {
          mode = lib.mkDefault "local";
          bind = lib.mkDefault "loopback";
          port = lib.mkDefault cfg.gatewayPort;
          auth.mode = lib.mkDefault "token";
        };
        agents.defaults.workspace = lib.mkDefault cfg.workspaceDir;
      };
    };

    environment.systemPackages = cfg.tools ++ [ cfg.clawctl ];

    systemd.services.clawdinator-gateway = {
      description = "CLAWDINATOR's gateway";
      wantedBy = [ "multi-user.target" ];
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
      ++ lib.optional cfg.githubApp.enable "clawdinator-github-token.service";
      # Ten starts within a quarter of an hour mean that it does not come up: the unit fails, the heartbeat says so, and
      # a deploy that waits for this host rolls back.
      startLimitIntervalSec = 900;
      startLimitBurst = 10;
      # Before the first bundle there is nothing to start with: user data brings it and switches.
      unitConfig = lib.optionalAttrs cfg.bootstrap.enable {
        ConditionPathExists = "${cfg.bootstrap.dir}/current/config.json";
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
        pkgs.nodejs_22
        pkgs.python3
        pkgs.ripgrep
        pkgs.util-linux
        cfg.clawctl
        "/run/current-system/sw"
      ]
      ++ cfg.tools
      ++ cfg.extraPackages;
      environment = {
        HOME = "${cfg.stateDir}/home";
        OPENCLAW_STATE_DIR = "${cfg.stateDir}/home/.openclaw";
        OPENCLAW_CONFIG_PATH = "${cfg.configFile}";
        # The configuration is the repository's: the gateway neither rewrites it nor installs anything.
        OPENCLAW_NIX_MODE = "1";
        SHELL = "${lib.getExe pkgs.bash}";
        CLAWDINATOR_MEMORY_DIR = cfg.memoryDir;
        CLAWDINATOR_REPOS_DIR = "${cfg.stateDir}/repos";
      }
      // lib.optionalAttrs cfg.githubApp.enable { CLAWDINATOR_GITHUB_TOKEN_FILE = cfg.githubApp.tokenFile; };
      serviceConfig = hardening.network // {
        ExecStart = "${start}";
        User = cfg.user;
        Group = cfg.group;
        WorkingDirectory = cfg.workspaceDir;
        RuntimeDirectory = "clawdinator-gateway";
        RuntimeDirectoryMode = "0700";
        LoadCredential = lib.mapAttrsToList (name: c: "${name}:${c.file}") credentials;
        Restart = "always";
        RestartSec = 10;
        TimeoutStopSec = 60;
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
        # Builds and test suites of maintainers' projects run here; they get most of the machine, not all of it.
        MemoryMax = "85%";
        TasksMax = 4096;
        OOMPolicy = "continue";
      };
    };
  };
}
