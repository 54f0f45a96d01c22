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
  # Of a path, its copy in the store; of a package or a folder of the host, what it says.
  templates = "${cfg.workspaceTemplateDir}";
in
{
  options.services.clawdinator = {
    workspaceTemplateDir = mkOption {
      type = types.path;
      default = ../../../clawdinator/workspace;
      description = "What the workspace begins with. Files that the agent changed are never overwritten.";
    };

    workspaceDir = mkOption {
      type = types.path;
      readOnly = true;
      default = "${cfg.stateDir}/workspace";
      defaultText = lib.literalExpression ''"''${config.services.clawdinator.stateDir}/workspace"'';
      description = "Where the agent works.";
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.services.clawdinator-workspace = {
      description = "Lay out the agent's workspace";
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
