# NixOS on AWS from an image, in two files, without CLAWDINATOR.
{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      system = "x86_64-linux";
    in
    {
      nixosConfigurations.web = nixpkgs.lib.nixosSystem {
        modules = [
          ./configuration.nix
          { nixpkgs.hostPlatform = system; }
        ];
      };

      # nix build .#image  →  result/…img: a raw disk for `clawctl image upload` or `aws s3 cp`.
      packages.${system}.image = self.nixosConfigurations.web.config.system.build.images.amazon;
    };
}
