# The text of docs/options.md: every option of services.clawdinator. Only builtins, so that it needs no nixpkgs and evaluates
# declarations only. A default that depends on the configuration needs a defaultText.
let
  inherit (builtins)
    attrNames
    concatLists
    concatStringsSep
    filter
    head
    isAttrs
    isFunction
    isList
    isString
    map
    replaceStrings
    toJSON
    typeOf
    ;

  named = description: { inherit description; };
  of = name: type: named "${name} of ${type.description}";
  lib = {
    mkOption = option: option // { _type = "option"; };
    mkEnableOption = what: {
      _type = "option";
      type = types.bool;
      default = false;
      description = "Whether to enable ${what}.";
    };
    literalExpression = text: { inherit text; };
    literalMD = text: { markdown = text; };
    inherit types;
    # For `let` bindings of the modules; only declarations are evaluated.
    inherit (builtins) filter length;
  };
  types = {
    bool = named "boolean";
    str = named "string";
    path = named "absolute path";
    port = named "port";
    package = named "package";
    attrs = named "attribute set";
    nullOr = type: named "null or ${type.description}";
    listOf = of "list";
    attrsOf = of "attribute set";
    strMatching = pattern: named "string matching `${pattern}`";
    enum = values: named "one of ${concatStringsSep ", " (map toJSON values)}";
    coercedTo =
      from: _: to:
      named "${from.description} or ${to.description}";
    submodule = _: named "submodule";
    ints.between = low: high: named "integer from ${toString low} to ${toString high}";
  };
  unset = what: throw "a default needs ${what}: give the option a defaultText";
  module =
    path:
    let
      value = import path;
    in
    if isFunction value then
      value {
        inherit lib;
        config = unset "the configuration";
        pkgs = {
          formats.json = _: { type = named "JSON value"; };
        };
        modulesPath = unset "modulesPath";
      }
    else
      value;

  # Option declarations of a tree, with their full names.
  declared =
    prefix: tree:
    if tree._type or "" == "option" then
      [ (tree // { name = prefix; }) ]
    else
      concatLists (
        map (name: declared (if prefix == "" then name else "${prefix}.${name}") tree.${name}) (
          attrNames tree
        )
      );
  options = concatLists (
    map (path: declared "" ((module path).options or { })) (module ../modules/clawdinator.nix).imports
  );
  shown = builtins.sort (a: b: a.name < b.name) (filter (o: !(o.internal or false)) options);

  # Nix source of a value.
  nix =
    value:
    if isList value then
      if value == [ ] then "[ ]" else "[ ${concatStringsSep " " (map nix value)} ]"
    else if isAttrs value then
      if value == { } then
        "{ }"
      else
        "{ ${concatStringsSep " " (map (name: "${name} = ${nix value.${name}};") (attrNames value))} }"
    else if typeOf value == "path" then
      let
        parts = filter isString (
          builtins.split "/nix/modules/clawdinator/[./]*|${toString ../..}/" (toString value)
        );
      in
      "./${builtins.elemAt parts (builtins.length parts - 1)}"
    else
      toJSON value;
  text =
    value:
    if isAttrs value && value ? text then
      code value.text
    else if isAttrs value && value ? markdown then
      " ${value.markdown}"
    else
      code (nix value);
  code =
    value:
    let
      one = trimmed value;
    in
    if builtins.match ".*\n.*" one == null then " `${one}`" else "\n\n```nix\n${one}\n```";
  trimmed =
    value: head (builtins.match "[\n ]*(.*[^\n ])[\n ]*" (replaceStrings [ "\r" ] [ "" ] value));

  entry = option: builtins.addErrorContext "of the option ${option.name}" (described option);
  described = option: ''
    ### `${option.name}`

    ${trimmed option.description}

    - Type: ${option.type.description}
    ${
      if option ? defaultText then
        "- Default:${text option.defaultText}"
      else if option ? default then
        "- Default:${text option.default}"
      else
        "- Required."
    }${if option ? example then "\n- Example:${text option.example}" else ""}${
      if option.readOnly or false then "\n- Read-only." else ""
    }
  '';
in
''
  # Options of services.clawdinator

  Generated from the modules by `nix/lib/options-page.nix`. A test checks that it is current; `UPDATE_SNAPSHOT=1` writes it.

  ${concatStringsSep "\n" (map entry shown)}''
