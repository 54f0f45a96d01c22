# Creates the memory's files from the templates in memory/, and never overwrites a file.
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
  templates = "${cfg.memoryTemplateDir}";
in
{
  options.services.clawdinator = {
    memoryTemplateDir = mkOption {
      type = types.path;
      default = ../../../memory;
      description = "Initial files of the memory.";
    };

    memoryDir = mkOption {
      type = types.path;
      readOnly = true;
      default = if cfg.memoryEfs.enable then cfg.memoryEfs.mountPoint else "${cfg.stateDir}/memory";
      defaultText = lib.literalMD "`memoryEfs.mountPoint` if that is enabled, else `memory` in `stateDir`";
      description = "Folder of the memory. All hosts share it if memoryEfs is enabled.";
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.tmpfiles.rules = lib.optional (
      !cfg.memoryEfs.enable
    ) "d ${cfg.memoryDir} 0750 ${cfg.user} ${cfg.group} -";

    systemd.services.clawdinator-memory-init = {
      description = "Create the memory's initial files";
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
        # The top folder of a new EFS belongs to root.
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
