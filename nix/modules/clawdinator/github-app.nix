# Mints a short-lived installation token of the GitHub App and renews it before it ends.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.clawdinator;
  app = cfg.githubApp;
  inherit (lib) mkOption types;
  hardening = import ../../lib/hardening.nix;
in
{
  options.services.clawdinator.githubApp = {
    enable = lib.mkEnableOption "tokens of a GitHub App for the agent and the GitHub monitor";

    appId = mkOption {
      type = types.nullOr (types.strMatching "[0-9]+");
      default = null;
      example = "123456";
      description = "Id of the app.";
    };

    installationId = mkOption {
      type = types.nullOr (types.strMatching "[0-9]+");
      default = null;
      example = "12345678";
      description = "Id of its installation in the organisation.";
    };

    privateKeyFile = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/agenix/github-app-key";
      description = "The app's private key (PEM). Only the minting unit reads it, as a systemd credential.";
    };

    permissions = mkOption {
      type = types.listOf (types.strMatching "[a-z_]+=(read|write)");
      default = [
        "contents=read"
        "issues=read"
        "metadata=read"
        "pull_requests=read"
      ];
      description = "What a token may do: at most what the installation was granted. The agent only reads.";
    };

    tokenFile = mkOption {
      type = types.path;
      readOnly = true;
      default = "/run/clawdinator-github/token.env";
      description = "Where the token is: an env file (GITHUB_TOKEN=…), readable by the agent's group.";
    };

    interval = mkOption {
      type = types.str;
      default = "40min";
      description = "How often a token is minted (systemd.time). GitHub's live an hour.";
    };
  };

  config = lib.mkIf (cfg.enable && app.enable) {
    assertions = [
      {
        assertion = app.appId != null && app.installationId != null;
        message = "services.clawdinator.githubApp.enable needs githubApp.appId and githubApp.installationId.";
      }
      {
        assertion = app.privateKeyFile != null;
        message = "services.clawdinator.githubApp.enable needs githubApp.privateKeyFile, such as /run/agenix/github-app-key.";
      }
      {
        assertion = app.privateKeyFile == null || !lib.isStorePath app.privateKeyFile;
        message = "services.clawdinator.githubApp.privateKeyFile lies in the Nix store, which every user can read.";
      }
    ];

    users.users.clawdinator-github = {
      isSystemUser = true;
      inherit (cfg) group;
      description = "Mints GitHub tokens";
    };

    systemd.services.clawdinator-github-token = {
      description = "Mint a GitHub token";
      after = [
        "network-online.target"
      ]
      ++ lib.optional cfg.bootstrap.enable "clawdinator-secrets.service";
      wants = [ "network-online.target" ];
      wantedBy = [ "multi-user.target" ];
      unitConfig = lib.optionalAttrs cfg.bootstrap.enable {
        ConditionPathExists = "${cfg.bootstrap.dir}/current/config.json";
      };
      environment = {
        GITHUB_APP_ID = app.appId;
        GITHUB_APP_INSTALLATION_ID = app.installationId;
        GITHUB_APP_PRIVATE_KEY_FILE = "%d/private-key";
      };
      serviceConfig = hardening.network // {
        Type = "oneshot";
        ExecStart = lib.concatStringsSep " " (
          [
            (lib.getExe cfg.clawctl)
            "github token --out ${app.tokenFile}"
          ]
          ++ map (permission: "--permission ${permission}") app.permissions
        );
        User = "clawdinator-github";
        Group = cfg.group;
        LoadCredential = [ "private-key:${toString app.privateKeyFile}" ];
        RuntimeDirectory = "clawdinator-github";
        RuntimeDirectoryMode = "0750";
        RuntimeDirectoryPreserve = true;
        IPAddressDeny = hardening.metadataAddresses;
        Restart = "on-failure";
        RestartSec = 30;
        TimeoutStartSec = "2min";
        UMask = "0027";
      };
    };

    systemd.timers.clawdinator-github-token = {
      description = "Renew the GitHub token";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "2min";
        OnUnitInactiveSec = app.interval;
      };
    };
  };
}
