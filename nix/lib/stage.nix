# Settings of the boot's units: they report their stage and failure (scripts/stage.sh), write to the serial console, and are
# restarted until they succeed. Units that use it must set `startLimitIntervalSec = 0`.
{
  lib,
  pkgs,
  scripts,
}:
let
  # "+": the hook runs as root, which owns the report.
  hook = "+${lib.getExe pkgs.bash} ${scripts}/stage.sh";
in
rec {
  /**
    Programs of the hooks, in addition to the default path of NixOS units.
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
    serviceConfig of a unit whose failure is reported.
  */
  reported = stage: unit: {
    ExecStopPost = [ "${hook} ended ${stage} ${unit}" ];
    # The hook `ended` pauses before the next start.
    TimeoutStopSec = "3min";
  };

  /**
    serviceConfig of a oneshot of the boot. `next`: a verb of systemctl and the next unit, or "".
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
