# Functions of the flake and the hosts for nix/instances.json. Only builtins, so that tests evaluate it without nixpkgs.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    filter
    head
    isAttrs
    isString
    length
    listToAttrs
    map
    mapAttrs
    match
    split
    ;

  fields = {
    host = "[a-z][a-z0-9-]{0,62}";
    instanceType = "[a-z][a-z0-9-]*[.][a-z0-9-]+";
    bootstrapPrefix = "[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*";
    discordTokenSecret = "[A-Za-z0-9][A-Za-z0-9._-]*";
  };
  unique = [
    "host"
    "bootstrapPrefix"
    "discordTokenSecret"
  ];

  last = list: builtins.elemAt list (length list - 1);
in
rec {
  /**
    Problems of a registry, one sentence each; empty if it is valid.
    `clawctl registry check` checks more, and names the lines.
  */
  registryProblems =
    registry:
    let
      ids = attrNames registry;
      ofEntry =
        id:
        let
          entry = registry.${id};
          bad = filter (
            name: !(entry ? ${name}) || !isString entry.${name} || match fields.${name} entry.${name} == null
          ) (attrNames fields);
        in
        (
          if match "[a-z][a-z0-9-]{0,62}" id == null || id == "all" then
            [ "\"${id}\" is not a valid id" ]
          else
            [ ]
        )
        ++ (
          if isAttrs entry then
            map (name: "${id}: ${name} is missing or not valid") bad
          else
            [ "${id} must be an object" ]
        );
      shared =
        name:
        let
          holders = filter (id: isAttrs registry.${id} && registry.${id} ? ${name}) ids;
          same = filter (
            id: length (filter (other: registry.${other}.${name} == registry.${id}.${name}) holders) > 1
          ) holders;
        in
        if same == [ ] then [ ] else [ "${name} is shared by ${concatStringsSep " and " same}" ];
    in
    if isAttrs registry then
      builtins.concatMap ofEntry ids ++ builtins.concatMap shared unique
    else
      [ "the registry must be one object that maps ids to their settings" ];

  /**
    The registry of a file. Throws all problems of the registry.
  */
  readRegistry =
    file:
    let
      registry = builtins.fromJSON (builtins.readFile file);
      problems = registryProblems registry;
    in
    if problems == [ ] then
      registry
    else
      throw "${toString file}: ${concatStringsSep "; " problems}. See `clawctl registry check`.";

  /**
    The Nix system of an EC2 instance type. Graviton families have a g after the digit of the generation (t4g, c7gn, im4gn);
    a1 is older than this rule.
  */
  systemOf =
    instanceType:
    let
      family = head (split "[.]" instanceType);
    in
    if family == "a1" || match "[a-z]+[0-9]+g[a-z]*" family != null then
      "aarch64-linux"
    else
      "x86_64-linux";

  /**
    `{ host = f id entry; }` for a registry, by host name, because nixos-rebuild takes that.
  */
  byHost =
    f: registry:
    listToAttrs (
      map (id: {
        name = registry.${id}.host;
        value = f id registry.${id};
      }) (attrNames registry)
    );

  /**
    The module of an instance: its own file if it exists, else common.nix with the instance's name.
  */
  hostModule =
    hostsFolder: id:
    let
      own = hostsFolder + "/${id}.nix";
    in
    if builtins.pathExists own then
      own
    else
      {
        imports = [ (hostsFolder + "/common.nix") ];
        services.clawdinator.instanceName = id;
      };

  /**
    A package-lock.json with the URL of every package. Ours has none, so that npm can use any registry; Nix needs one. The
    digests stay.
  */
  resolveLock =
    registryUrl: lock:
    let
      resolve =
        path: module:
        let
          name = module.name or (last (filter isString (split "node_modules/" path)));
        in
        if path == "" || module ? resolved || module ? link then
          module
        else
          module
          // {
            resolved = "${registryUrl}/${name}/-/${baseNameOf name}-${module.version}.tgz";
          };
    in
    lock // { packages = mapAttrs resolve lock.packages; };
}
