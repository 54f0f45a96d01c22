# clawctl of this checkout. importNpmLock takes digests from package-lock.json, so no hash has to be updated here.
{
  lib,
  pkgs,
  nodejs ? pkgs.nodejs,
}:
let
  root = ../..;
  fleet = import ../lib;
  package = lib.importJSON (root + "/package.json");
  # Only files of the build and of the package: a change of the documentation must not rebuild it.
  isBuilt = file: lib.hasPrefix "dist/" file || file == "oclif.manifest.json";
  parts = lib.filter (file: !isBuilt file) package.files ++ [
    "bin"
    "lambda"
    "scripts"
    "sandbox"
    "src"
    "package.json"
    "package-lock.json"
    "tsconfig.json"
  ];
  src = builtins.path {
    name = "clawctl-source";
    path = root;
    filter =
      path: _:
      let
        relative = lib.removePrefix "${toString root}/" (toString path);
      in
      lib.any (
        part: relative == part || lib.hasPrefix "${part}/" relative || lib.hasPrefix "${relative}/" part
      ) parts;
  };
in
pkgs.buildNpmPackage {
  pname = package.name;
  inherit (package) version;
  inherit src;

  npmDeps = pkgs.importNpmLock {
    npmRoot = src;
    inherit package;
    packageLock = fleet.resolveLock "https://registry.npmjs.org" (
      lib.importJSON (root + "/package-lock.json")
    );
  };
  inherit (pkgs.importNpmLock) npmConfigHook;
  inherit nodejs;
  # Only esbuild has an install script; its binary is an optional dependency.
  npmFlags = [ "--ignore-scripts" ];
  npmBuildScript = "build";

  # The program is bundled and needs no node_modules.
  dontNpmPrune = true;
  installPhase = ''
    runHook preInstall
    mkdir -p $out/lib/clawctl $out/bin
    cp -r --parents ${lib.escapeShellArgs package.files} $out/lib/clawctl/
    # Not the build's copy, which names store paths of all dependencies.
    cp ${src}/package.json $out/lib/clawctl/
    patchShebangs $out/lib/clawctl/bin
    ln -s $out/lib/clawctl/bin/run.js $out/bin/clawctl
    runHook postInstall
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck
    HOME=$TMPDIR $out/bin/clawctl --version | grep -F ${lib.escapeShellArg package.version}
    runHook postInstallCheck
  '';

  meta = {
    inherit (package) description;
    license = lib.licenses.mit;
    mainProgram = "clawctl";
    platforms = lib.platforms.linux;
  };
}
