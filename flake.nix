{
  description = "CLAWDINATORs: a small, static fleet of NixOS machines on AWS, and clawctl, which operates it";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

    agenix = {
      url = "github:ryantm/agenix";
      inputs.nixpkgs.follows = "nixpkgs";
    };

    # The gateway's packaging. It is built with our nixpkgs, one for the whole host, so no cache of others has what it makes:
    # the image carries it. Another one: --override-input nix-openclaw URL, or `follows` in a consumer's flake; all that
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

      # The base image, with everything that the hosts of its system are made of at this commit: their switch at first boot
      # evaluates, and neither builds nor downloads. See ADR 42.
      mkImage =
        system:
        lib.nixosSystem {
          modules = [
            ./nix/image.nix
            {
              nixpkgs.hostPlatform = system;
              system.extraDependencies = [
                agenix.outPath
                nix-openclaw.outPath
                nixpkgs.outPath
              ]
              ++ map (host: host.config.system.build.toplevel) (
                lib.filter (host: host.pkgs.stdenv.hostPlatform.system == system) (
                  lib.attrValues self.nixosConfigurations
                )
              );
            }
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

      # Hosts are evaluated whole; image-build.yml builds them.
      checks = forAllSystems (
        pkgs:
        let
          inherit (pkgs.stdenv.hostPlatform) system;
          evaluated = name: text: pkgs.writeText name (builtins.unsafeDiscardStringContext text);
          hosts = lib.filterAttrs (
            _: host: host.pkgs.stdenv.hostPlatform.system == system
          ) self.nixosConfigurations;
        in
        # In virtual machines; they need KVM.
        import ./nix/tests {
          inherit pkgs;
          modules = [
            agenix.nixosModules.default
            self.nixosModules.clawdinator
          ];
        }
        # The rendered configuration of each host, by the validator of the very gateway that it gets.
        // lib.mapAttrs' (
          name: host:
          lib.nameValuePair "gateway-config-${name}" (
            pkgs.runCommand "clawdinator-gateway-config-${name}" { nativeBuildInputs = [ pkgs.jq ]; } ''
              export HOME=$TMPDIR OPENCLAW_NIX_MODE=1 OPENCLAW_STATE_DIR=$TMPDIR/state
              export OPENCLAW_CONFIG_PATH=${host.config.services.clawdinator.configFile}
              mkdir $OPENCLAW_STATE_DIR
              ${lib.getExe' host.config.services.clawdinator.package "openclaw"} config validate --json >answer || true
              jq . answer
              jq -e .valid answer >/dev/null
              touch $out
            ''
          )
        ) hosts
        // {
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

          nix-files =
            pkgs.runCommand "clawdinator-nix-files-check"
              {
                nativeBuildInputs = [
                  pkgs.deadnix
                  pkgs.nixfmt
                  pkgs.statix
                ];
              }
              ''
                mkdir source
                cp ${./flake.nix} source/flake.nix
                cp ${./statix.toml} source/statix.toml
                cp -r ${./nix} source/nix
                cd source
                find . -name '*.nix' -exec nixfmt --check {} +
                deadnix --fail .
                statix check .
                touch $out
              '';

          # docs/options.md is what the modules say.
          options-page = pkgs.runCommand "clawdinator-options-page-check" { } ''
            diff ${./docs/options.md} ${pkgs.writeText "options.md" (import ./nix/lib/options-page.nix)}
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
