# Lays out the memory: the templates of memory/ where there is nothing yet, and never over what is there.
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
  templates = "${cfg.memoryTemplateDir}";
in
{
  options.services.clawdinator = {
    memoryTemplateDir = mkOption {
      type = types.path;
      default = ../../../memory;
      description = "Files that a fresh memory begins with.";
    };

    memoryDir = mkOption {
      type = types.path;
      readOnly = true;
      default = if cfg.memoryEfs.enable then cfg.memoryEfs.mountPoint else "${cfg.stateDir}/memory";
      defaultText = lib.literalMD "`memoryEfs.mountPoint` where that is enabled, else `memory` below `stateDir`";
      description = "The memory: shared where memoryEfs is enabled, else this host's own.";
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.tmpfiles.rules = lib.optional (
      !cfg.memoryEfs.enable
    ) "d ${cfg.memoryDir} 0750 ${cfg.user} ${cfg.group} -";

    systemd.services.clawdinator-memory-init = {
      description = "Lay out the memory";
      wantedBy = [ "multi-user.target" ];
      unitConfig.RequiresMountsFor = cfg.memoryDir;
      path = [
        pkgs.coreutils
        pkgs.findutils
        pkgs.util-linux
      ];
      serviceConfig = hardening.base // {
        Type = "oneshot";
        RemainAfterExit = true;
        # The root of a fresh EFS belongs to root.
        ExecStartPre = "+${pkgs.coreutils}/bin/install -d -m 0750 -o ${cfg.user} -g ${cfg.group} ${cfg.memoryDir}";
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/seed-workspace.sh --only-missing ${templates} ${cfg.memoryDir}";
        User = cfg.user;
        Group = cfg.group;
        ReadWritePaths = [ "-${cfg.memoryDir}" ];
        MemoryDenyWriteExecute = true;
        UMask = "0027";
      };
    };
  };
}
