# What the flake and the hosts make of nix/instances.json. Pure: nothing but builtins, so that a test can evaluate it
# with any nix and no nixpkgs.
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
    What is wrong with a registry, one sentence each; empty where it can be used.
    `clawctl registry check` knows more and says the lines.
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
            [ "\"${id}\" can't be an id" ]
          else
            [ ]
        )
        ++ (
          if isAttrs entry then
            map (name: "${id}: ${name} is missing or malformed") bad
          else
            [ "${id} must be an object" ]
        );
      twice =
        name:
        let
          holders = filter (id: isAttrs registry.${id} && registry.${id} ? ${name}) ids;
          shared = filter (
            id: length (filter (other: registry.${other}.${name} == registry.${id}.${name}) holders) > 1
          ) holders;
        in
        if shared == [ ] then [ ] else [ "${name} is shared by ${concatStringsSep " and " shared}" ];
    in
    if isAttrs registry then
      builtins.concatMap ofEntry ids ++ builtins.concatMap twice unique
    else
      [ "the registry must be one object that maps ids to their settings" ];

  /**
    The registry of a file; evaluation ends with every problem where there is one.
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
    The system of an EC2 instance type: Graviton families carry a g after the generation's digit (t4g, c7gn, im4gn),
    and a1 is the one before that rule.
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
    `{ host = f id entry; }` over a registry: nixos-rebuild asks for a host's name, not for an id.
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
    The module of an instance: its own file where there is one, else common.nix with nothing but the name.
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
    A package-lock.json with the address of every package: npm leaves it out where the lock shall hold for any
    registry, and Nix has to fetch from one. The digests of the lock hold either way.
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
