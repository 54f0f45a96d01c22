# What every unit of a CLAWDINATOR gives up. A unit takes back what it needs by name, after `//`.
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
    No network.
  */
  inherit base;

  /**
    Talks to others. Node asks the kernel for its interfaces over netlink.
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
    The instance's role lives behind these addresses. No agent holds an AWS credential, so nothing that an agent
    can start may reach them.
  */
  metadataAddresses = [
    "169.254.169.254/32"
    "fd00:ec2::254/128"
  ];

  /**
    Group of the units that use the instance's role. A number, because packet filters are checked without users.
  */
  roleGid = 851;
}
