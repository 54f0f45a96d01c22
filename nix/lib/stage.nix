# What every unit of a boot has: it writes down its stage and its failure (scripts/stage.sh), speaks on the serial console,
# and is started again until it succeeds. Units that use it want `startLimitIntervalSec = 0`.
{
  lib,
  pkgs,
  scripts,
}:
let
  # With full privileges: the report belongs to root, whoever the unit runs as.
  hook = "+${lib.getExe pkgs.bash} ${scripts}/stage.sh";
in
rec {
  /**
    For the hooks, beside what every unit of NixOS has.
  */
  path = [
    pkgs.coreutils
    pkgs.gnugrep
    pkgs.gnused
    pkgs.jq
    pkgs.util-linux
    "/run/current-system/sw"
  ];

  /**
    serviceConfig of a unit whose failure is reported, of whatever stage.
  */
  reported = stage: unit: {
    ExecStopPost = [ "${hook} ended ${stage} ${unit}" ];
    # The pause before another start grows in there.
    TimeoutStopSec = "3min";
  };

  /**
    serviceConfig of a oneshot of the boot; `next` is a verb of systemctl and the unit that follows, or nothing.
  */
  oneshot =
    stage: unit: next:
    reported stage unit
    // {
      Type = "oneshot";
      ExecStartPre = [ "${hook} working ${stage}" ];
      ExecStartPost = [ "${hook} passed ${stage} ${unit}${lib.optionalString (next != "") " ${next}"}" ];
      Restart = "on-failure";
      RestartSec = 5;
      StandardOutput = "journal+console";
    };
}
