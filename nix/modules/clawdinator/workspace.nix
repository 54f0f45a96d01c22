# The agent's workspace: AGENTS.md, SOUL.md, IDENTITY.md and the skills, from the checkout.
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
  # Interpolation copies a path to the Nix store, and keeps a string.
  templates = "${cfg.workspaceTemplateDir}";
in
{
  options.services.clawdinator = {
    workspaceTemplateDir = mkOption {
      type = types.path;
      default = ../../../clawdinator/workspace;
      description = "Templates of the workspace. They never overwrite a file that the agent changed.";
    };

    workspaceDir = mkOption {
      type = types.path;
      readOnly = true;
      default = "${cfg.stateDir}/workspace";
      defaultText = lib.literalExpression ''"''${config.services.clawdinator.stateDir}/workspace"'';
      description = "The agent's working folder.";
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.services.clawdinator-workspace = {
      description = "Copy templates to the agent's workspace";
      wantedBy = [ "multi-user.target" ];
      path = [
        pkgs.coreutils
        pkgs.findutils
        pkgs.util-linux
      ];
      serviceConfig = hardening.base // {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/seed-workspace.sh ${templates} ${cfg.workspaceDir}";
        User = cfg.user;
        Group = cfg.group;
        ReadWritePaths = [ cfg.workspaceDir ];
        MemoryDenyWriteExecute = true;
        UMask = "0027";
      };
    };
  };
}
