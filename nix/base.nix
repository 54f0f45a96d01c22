# The machine beneath, of the image and of every host: boots on EC2, lets nobody in, speaks on the serial console.
{
  lib,
  pkgs,
  ...
}:
{
  # Nobody logs in: what is wrong with a host is mended in the repository, and the host replaced.
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
      # Bytes. A build stops to collect garbage before the disk is full, and goes on when there is room again.
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

  # A switch on the smallest instance compiles nothing, but it evaluates: that takes memory.
  zramSwap.enable = true;

  documentation.enable = false;
  time.timeZone = "UTC";
  # A file of its own: nixpkgs has renamed journald's options (extraConfig, then settings), and either name fails somewhere.
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

  # The image and everything after it hold the same release, so that a switch fetches differences only.
  image.modules.amazon = {
    amazonImage.format = "raw";
    virtualisation.diskSize = 8 * 1024;
  };

  system.stateVersion = "25.05";
}
