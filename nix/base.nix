# The base system of the image and of every host: no login, status on the serial console.
{
  lib,
  pkgs,
  ...
}:
{
  # No login: fix a host in the repository, then replace it.
  services.openssh.enable = lib.mkForce false;
  services.amazon-ssm-agent.enable = lib.mkForce false;
  networking.firewall = {
    enable = true;
    allowPing = false;
    logRefusedConnections = false;
  };
  security.sudo.enable = false;

  nix = {
    settings = {
      experimental-features = [
        "nix-command"
        "flakes"
      ];
      trusted-users = [ "root" ];
      # Bytes. A build collects garbage before the disk is full.
      min-free = 2 * 1024 * 1024 * 1024;
      max-free = 8 * 1024 * 1024 * 1024;
    };
    gc = {
      automatic = true;
      dates = "weekly";
      options = "--delete-older-than 14d";
    };
    channel.enable = false;
  };

  # Evaluation at a switch needs more memory than the smallest instance has.
  zramSwap.enable = true;

  documentation.enable = false;
  time.timeZone = "UTC";
  # Not journald's options: nixpkgs has renamed them (extraConfig, then settings), and each name fails in some release.
  environment.etc."systemd/journald.conf.d/clawdinator.conf".text = ''
    [Journal]
    SystemMaxUse=500M
    MaxRetentionSec=1month
  '';

  # `clawctl image smoke` reads this line from the serial console.
  systemd.services.clawdinator-booted = {
    description = "Write to the serial console that the machine is up";
    wantedBy = [ "multi-user.target" ];
    after = [
      "multi-user.target"
      "network-online.target"
    ];
    wants = [ "network-online.target" ];
    serviceConfig = (import ./lib/hardening.nix).base // {
      Type = "oneshot";
      RemainAfterExit = true;
      ExecStart = "${pkgs.coreutils}/bin/echo 'clawdinator-image: booted'";
      StandardOutput = "journal+console";
      DynamicUser = true;
    };
  };

  environment.systemPackages = [
    pkgs.git
    pkgs.jq
  ];

  image.modules.amazon = {
    amazonImage.format = "raw";
    virtualisation.diskSize = 8 * 1024;
  };

  system.stateVersion = "25.05";
}
