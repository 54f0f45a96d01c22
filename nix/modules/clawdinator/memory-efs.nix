# The shared memory: EFS, mounted with NFSv4.1 through a TLS tunnel of stunnel. amazon-efs-utils does the same, but has more
# parts (a Python watchdog and, since 2.0, a proxy) and is not in nixpkgs.
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
    enable = lib.mkEnableOption "the memory on EFS, shared by all instances, over TLS";

    fileSystemId = mkOption {
      type = types.nullOr (types.strMatching "fs-[0-9a-f]+");
      default = null;
      example = "fs-0123456789abcdef0";
      description = "Id of the file system, an output of the platform stack.";
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
      description = "Mount point of the memory.";
    };

    localPort = mkOption {
      type = types.port;
      default = 20049;
      description = "Port of the TLS tunnel, on loopback.";
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
      description = "TLS tunnel to the shared memory";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      # A stop during the switch would interrupt the mount.
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
      # As AWS recommends for EFS. hard: writes wait while the server is unreachable, and do not fail.
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
        # Missing files are not cached, so a new file of another host is visible immediately.
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
