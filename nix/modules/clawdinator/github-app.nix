# Mints a short-lived installation token of the GitHub App, and a new one before it expires.
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
      description = "Id of the GitHub App.";
    };

    installationId = mkOption {
      type = types.nullOr (types.strMatching "[0-9]+");
      default = null;
      example = "12345678";
      description = "Id of the app's installation in the organisation.";
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
      example = [
        "contents=write"
        "issues=read"
        "metadata=read"
        "pull_requests=write"
      ];
      description = ''
        Permissions of the token. The installation must have them. The default is read-only. To open pull requests
        (`clawctl registry add ID --pr`) the agent needs `contents=write` and `pull_requests=write`. Then `repositories` must
        be set, and the main branches of these repositories should require a review.
      '';
    };

    repositories = mkOption {
      type = types.listOf (types.strMatching "[A-Za-z0-9._-]+");
      default = [ ];
      example = [ "clawdinators" ];
      description = ''
        Repositories of the installation that the token gives access to. Empty: all. The GitHub monitor can still read other
        public repositories.
      '';
    };

    tokenFile = mkOption {
      type = types.path;
      readOnly = true;
      default = "/run/clawdinator-github/token.env";
      description = "File with the token, in the form GITHUB_TOKEN=…. The agent's group can read it.";
    };

    interval = mkOption {
      type = types.str;
      default = "40min";
      description = "Interval between new tokens (systemd.time). A token expires after one hour.";
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
        assertion = app.repositories != [ ] || !lib.any (lib.hasSuffix "=write") app.permissions;
        message = "services.clawdinator.githubApp.permissions lets the agent write. Set githubApp.repositories to the repositories it may write to.";
      }
      {
        assertion = app.privateKeyFile == null || !lib.hasPrefix "${builtins.storeDir}/" app.privateKeyFile;
        message = "services.clawdinator.githubApp.privateKeyFile is in the Nix store, which every user can read. Use agenix.";
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
          ++ map (repository: "--repository ${repository}") app.repositories
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
