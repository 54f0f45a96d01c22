# Hardening of the units of a CLAWDINATOR. A unit overrides single settings after `//`.
let
  base = {
    NoNewPrivileges = true;
    CapabilityBoundingSet = "";
    AmbientCapabilities = "";
    ProtectSystem = "strict";
    ProtectHome = true;
    PrivateTmp = true;
    PrivateDevices = true;
    ProtectKernelTunables = true;
    ProtectKernelModules = true;
    ProtectKernelLogs = true;
    ProtectControlGroups = true;
    ProtectClock = true;
    ProtectHostname = true;
    ProtectProc = "invisible";
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    LockPersonality = true;
    RemoveIPC = true;
    KeyringMode = "private";
    SystemCallArchitectures = "native";
    SystemCallFilter = [
      "@system-service"
      "~@privileged"
    ];
    SystemCallErrorNumber = "EPERM";
    RestrictAddressFamilies = [ "AF_UNIX" ];
    UMask = "0077";
  };
in
{
  /**
    For units without network.
  */
  inherit base;

  /**
    For units with network. Node.js lists network interfaces over netlink.
  */
  network = base // {
    RestrictAddressFamilies = [
      "AF_UNIX"
      "AF_INET"
      "AF_INET6"
      "AF_NETLINK"
    ];
  };

  /**
    The metadata service, which gives credentials of the instance's role. Processes of the agent must not reach it.
  */
  metadataAddresses = [
    "169.254.169.254/32"
    "fd00:ec2::254/128"
  ];

  /**
    Id of the group of the units that use the instance's role. A number, because nftables checks its rules without /etc/group.
  */
  roleGid = 851;
}
