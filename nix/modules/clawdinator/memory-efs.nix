# The shared memory: EFS, mounted with plain NFSv4.1 through a TLS tunnel of stunnel's. amazon-efs-utils does the same
# with more parts (a Python watchdog and, since 2.0, a proxy of its own) and is not in nixpkgs.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  efs = cfg.memoryEfs;
  inherit (lib) mkOption types;
  hardening = import ../../lib/hardening.nix;
  server = "${efs.fileSystemId}.efs.${efs.region}.amazonaws.com";
  tunnel = pkgs.writeText "clawdinator-efs-tunnel.conf" ''
    foreground = yes
    debug = notice
    pid =
    [efs]
    client = yes
    accept = 127.0.0.1:${toString efs.localPort}
    connect = ${server}:2049
    sslVersionMin = TLSv1.2
    CAfile = ${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt
    verifyChain = yes
    checkHost = ${server}
    TIMEOUTbusy = 20
    TIMEOUTclose = 0
    renegotiation = no
    delay = yes
  '';
in
{
  options.services.clawdinator.memoryEfs = {
    enable = lib.mkEnableOption "the hive mind's memory on EFS, shared by all instances, over TLS";

    fileSystemId = mkOption {
      type = types.nullOr (types.strMatching "fs-[0-9a-f]+");
      default = null;
      example = "fs-0123456789abcdef0";
      description = "The file system, as the platform stack prints it.";
    };

    region = mkOption {
      type = types.nullOr types.str;
      default = cfg.bootstrap.region;
      defaultText = lib.literalExpression "config.services.clawdinator.bootstrap.region";
      example = "eu-central-1";
      description = "Region of the file system.";
    };

    mountPoint = mkOption {
      type = types.path;
      default = "${cfg.stateDir}/memory";
      defaultText = lib.literalExpression ''"''${config.services.clawdinator.stateDir}/memory"'';
      description = "Where it is mounted.";
    };

    localPort = mkOption {
      type = types.port;
      default = 20049;
      description = "Port of the tunnel, on loopback.";
    };
  };

  config = lib.mkIf (cfg.enable && efs.enable) {
    assertions = [
      {
        assertion = efs.fileSystemId != null;
        message = "services.clawdinator.memoryEfs.enable needs memoryEfs.fileSystemId (fs-…).";
      }
      {
        assertion = efs.region != null;
        message = "services.clawdinator.memoryEfs.enable needs memoryEfs.region.";
      }
    ];

    boot.supportedFilesystems = [ "nfs" ];

    systemd.services.clawdinator-efs-tunnel = {
      description = "TLS to the shared memory";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      # A restart breaks the mount's connection; NFS takes it up again, but needlessly so.
      stopIfChanged = false;
      serviceConfig = hardening.network // {
        ExecStart = "${pkgs.stunnel}/bin/stunnel ${tunnel}";
        DynamicUser = true;
        Restart = "always";
        RestartSec = 2;
        MemoryDenyWriteExecute = true;
      };
    };

    fileSystems.${efs.mountPoint} = {
      device = "127.0.0.1:/";
      fsType = "nfs4";
      # What AWS recommends for EFS. hard: an agent waits for its memory, it does not lose it.
      options = [
        "nfsvers=4.1"
        "proto=tcp"
        "port=${toString efs.localPort}"
        "rsize=1048576"
        "wsize=1048576"
        "hard"
        "timeo=600"
        "retrans=2"
        "noresvport"
        # A file that another host has just made is there: what is not there is asked for each time.
        "lookupcache=positive"
        "nosuid"
        "nodev"
        "noexec"
        "_netdev"
        "nofail"
        "x-systemd.requires=clawdinator-efs-tunnel.service"
        "x-systemd.after=clawdinator-efs-tunnel.service"
        "x-systemd.mount-timeout=120"
      ];
    };
  };
}
