# One machine that serves one page. What matters is what is not here: no SSH, no user, no step by hand.
{
  lib,
  modulesPath,
  ...
}:
{
  imports = [
    # Boot loader, disk, serial console, ENA and NVMe drivers, metadata service: what EC2 needs, kept by nixpkgs.
    "${modulesPath}/virtualisation/amazon-image.nix"
  ];

  # How the image is built. The image builder is a variant of this same configuration, so image and machine can't differ.
  image.modules.amazon = {
    amazonImage.format = "raw"; # VM Import and the EBS direct APIs take a plain disk
    virtualisation.diskSize = 4 * 1024; # MiB; the root file system grows to its volume at boot
  };

  # amazon-image.nix switches both on. To change the machine, change this file and boot the new image.
  services.openssh.enable = lib.mkForce false;
  services.amazon-ssm-agent.enable = lib.mkForce false;

  # Your service.
  services.nginx = {
    enable = true;
    virtualHosts.default.locations."/".return = "200 'Hello from NixOS'";
  };
  networking.firewall.allowedTCPPorts = [ 80 ];

  system.stateVersion = "25.05";
}
