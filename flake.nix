{
  description = "CLAWDINATORs: a small, static fleet of NixOS machines on AWS, and clawctl, which operates it";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

    agenix = {
      url = "github:ryantm/agenix";
      inputs.nixpkgs.follows = "nixpkgs";
    };

    # The gateway's packaging. It is built with our nixpkgs, so no public cache has the result, and the image contains it. To
    # replace it: --override-input nix-openclaw URL, or `follows` in your flake. It needs an overlay with `openclaw-gateway`.
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

      # The commit that heartbeats report.
      revision = {
        system.configurationRevision = self.rev or self.dirtyRev or null;
      };

      # The host of an entry of nix/instances.json.
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

      # The base image. It contains all packages of its system's hosts at this commit, so that their first switch builds and
      # downloads nothing. See ADR 42.
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
        # Only services.clawdinator; you provide the secrets and `package`.
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

      # By host name, which nixos-rebuild takes. A new entry of the registry needs no edit here.
      nixosConfigurations = fleet.byHost mkHost registry;

      packages = forAllSystems (pkgs: {
        default = pkgs.clawctl;
        inherit (pkgs) clawctl;
        control-api = pkgs.clawdinator-control-api;
        image = (mkImage pkgs.stdenv.hostPlatform.system).config.system.build.images.amazon;
      });

      # Hosts are only evaluated; image-build.yml builds them.
      checks = forAllSystems (
        pkgs:
        let
          inherit (pkgs.stdenv.hostPlatform) system;
          evaluated = name: text: pkgs.writeText name (builtins.unsafeDiscardStringContext text);
          hosts = lib.filterAttrs (
            _: host: host.pkgs.stdenv.hostPlatform.system == system
          ) self.nixosConfigurations;
        in
        # In virtual machines, which need KVM.
        import ./nix/tests {
          inherit pkgs;
          modules = [
            agenix.nixosModules.default
            self.nixosModules.clawdinator
          ];
        }
        # Validates the rendered configuration of each host with its own gateway.
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

          # docs/options.md is current.
          options-page = pkgs.runCommand "clawdinator-options-page-check" { } ''
            diff ${./docs/options.md} ${pkgs.writeText "options.md" (import ./nix/lib/options-page.nix)}
            touch $out
          '';

          # Every host of the registry, of both systems.
          hosts = evaluated "clawdinator-hosts" (
            lib.concatLines (
              lib.mapAttrsToList (
                name: host: "${name} ${host.config.system.build.toplevel.drvPath}"
              ) self.nixosConfigurations
            )
          );

          # The options that the README shows.
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
