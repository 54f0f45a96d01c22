# One machine that serves one page, without SSH, users and manual steps.
{
  lib,
  modulesPath,
  ...
}:
{
  imports = [
    # Boot loader, disk, serial console, ENA and NVMe drivers, metadata service of EC2.
    "${modulesPath}/virtualisation/amazon-image.nix"
  ];

  # Options of the image only. The image is a variant of this configuration.
  image.modules.amazon = {
    amazonImage.format = "raw"; # VM Import and the EBS direct APIs take raw disks
    virtualisation.diskSize = 4 * 1024; # MiB; the root file system grows to its volume at boot
  };

  # amazon-image.nix enables both. To change the machine, change this file and boot the new image.
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
