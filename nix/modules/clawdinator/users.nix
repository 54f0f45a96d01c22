# Users, groups and folders. Units of the group clawdinator-role may use the instance's AWS role; see metadata-guard.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  inherit (import ../../lib/hardening.nix) roleGid;
  anything = cfg.enable || cfg.bootstrap.enable || cfg.heartbeat.enable;
in
{
  config = lib.mkMerge [
    (lib.mkIf anything {
      users.groups.clawdinator-role.gid = roleGid;
      systemd.tmpfiles.rules = [
        "d ${cfg.stateDir} 0755 root root -"
        "d ${cfg.stateDir}/repos 0755 root root -"
        "d /run/clawdinator 0755 root root -"
      ];
    })
    (lib.mkIf cfg.enable {
      users.users = lib.mkIf (cfg.user == "clawd") {
        clawd = {
          isSystemUser = true;
          inherit (cfg) group uid;
          home = "${cfg.stateDir}/home";
          description = "CLAWDINATOR";
          shell = pkgs.bash;
        };
      };
      users.groups = lib.mkIf (cfg.group == "clawd") { clawd.gid = cfg.uid; };
      systemd.tmpfiles.rules = [
        "d ${cfg.stateDir}/home 0700 ${cfg.user} ${cfg.group} -"
        "d ${cfg.stateDir}/workspace 0750 ${cfg.user} ${cfg.group} -"
      ];
    })
  ];
}
