{
  description = "CLAWDINATORs: a small, static fleet of NixOS machines on AWS, and clawctl, which operates it";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

    agenix = {
      url = "github:ryantm/agenix";
      inputs.nixpkgs.follows = "nixpkgs";
    };

    # The gateway's packaging. Another one: --override-input nix-openclaw URL, or `follows` in a consumer's flake; all that
    # is asked of it is an overlay with `openclaw-gateway`.
    nix-openclaw = {
      url = "github:openclaw/nix-openclaw";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      agenix,
      nix-openclaw,
    }:
    let
      inherit (nixpkgs) lib;
      fleet = import ./nix/lib;
      registry = fleet.readRegistry ./nix/instances.json;

      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAllSystems =
        f:
        lib.genAttrs systems (
          system:
          f (
            import nixpkgs {
              inherit system;
              overlays = [ self.overlays.default ];
            }
          )
        );

      # What a machine says of where it comes from.
      revision = {
        system.configurationRevision = self.rev or self.dirtyRev or null;
      };

      # A machine of the fleet: one entry of nix/instances.json.
      mkHost =
        id: entry:
        lib.nixosSystem {
          modules = [
            self.nixosModules.default
            (fleet.hostModule ./nix/hosts id)
            { nixpkgs.hostPlatform = fleet.systemOf entry.instanceType; }
            revision
          ];
        };

      mkImage =
        system:
        lib.nixosSystem {
          modules = [
            ./nix/image.nix
            { nixpkgs.hostPlatform = system; }
            revision
          ];
        };
    in
    {
      overlays.default = final: _prev: {
        clawctl = final.callPackage ./nix/packages/clawctl.nix { };
        clawdinator-control-api = final.callPackage ./nix/packages/control-api.nix { };
      };

      nixosModules = {
        # services.clawdinator alone: bring your own secrets and your own `package`.
        clawdinator = ./nix/modules/clawdinator.nix;

        # With agenix and the gateway.
        default = {
          imports = [
            agenix.nixosModules.default
            self.nixosModules.clawdinator
          ];
          nixpkgs.overlays = [ nix-openclaw.overlays.default ];
        };
      };

      # By host name, which is what nixos-rebuild asks for. A new entry of the registry needs no edit here.
      nixosConfigurations = fleet.byHost mkHost registry;

      packages = forAllSystems (pkgs: {
        default = pkgs.clawctl;
        inherit (pkgs) clawctl;
        control-api = pkgs.clawdinator-control-api;
        image = (mkImage pkgs.stdenv.hostPlatform.system).config.system.build.images.amazon;
      });

      # Evaluated whole, built only where it is ours: the gateway and the systems take an hour of compiling without a cache,
      # and image-build.yml builds them anyway.
      checks = forAllSystems (
        pkgs:
        let
          evaluated = name: text: pkgs.writeText name (builtins.unsafeDiscardStringContext text);
        in
        {
          inherit (self.packages.${pkgs.stdenv.hostPlatform.system}) clawctl control-api;

          scripts =
            pkgs.runCommand "clawdinator-scripts-check"
              {
                nativeBuildInputs = [
                  pkgs.shellcheck
                  pkgs.shfmt
                ];
              }
              ''
                cd ${./scripts}
                find . -name '*.sh' -exec shellcheck -x {} +
                find . -name '*.sh' -exec shfmt -d -i 2 -ci {} +
                touch $out
              '';

          # Every host of the registry, of either system.
          hosts = evaluated "clawdinator-hosts" (
            lib.concatLines (
              lib.mapAttrsToList (
                name: host: "${name} ${host.config.system.build.toplevel.drvPath}"
              ) self.nixosConfigurations
            )
          );

          # The options as the README shows them.
          readme-example =
            evaluated "clawdinator-readme-example"
              (lib.nixosSystem {
                modules = [
                  self.nixosModules.default
                  ./nix/examples/clawdinator.nix
                  { nixpkgs.hostPlatform = pkgs.stdenv.hostPlatform.system; }
                ];
              }).config.systemd.units."clawdinator-gateway.service".text;
        }
      );

      devShells = forAllSystems (pkgs: {
        default = pkgs.mkShell {
          packages = [
            agenix.packages.${pkgs.stdenv.hostPlatform.system}.default
            pkgs.actionlint
            pkgs.age
            pkgs.awscli2
            pkgs.curl
            pkgs.gh
            pkgs.jq
            pkgs.nixfmt-tree
            pkgs.nodejs
            pkgs.opentofu
            pkgs.shellcheck
            pkgs.shfmt
            pkgs.zstd
          ];
        };
      });

      formatter = forAllSystems (pkgs: pkgs.nixfmt-tree);
    };
}
