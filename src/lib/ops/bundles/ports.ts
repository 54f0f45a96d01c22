import type { Seed } from '../../domain/bundles/seeds.js'
import type { ObjectInfo } from '../ports.js'

export interface StoredContent {
  size: number
  /** Hex. Of `head`, as S3 keeps it; null where it keeps none. */
  sha256: string
  /** `aws:kms`, `AES256`, or null where S3 says none. */
  encryption: string | null
}

/** What a reader of bundles needs of the bucket. Null: there is no such object. */
export interface BundleReader {
  get(key: string): Promise<{ text: string; etag: string } | null>
  list(prefix: string): Promise<ObjectInfo[]>
  /** Without the content; `checksum` asks for S3's own SHA-256, which of a KMS object needs kms:Decrypt. */
  head(key: string, checksum: boolean): Promise<(Omit<StoredContent, 'sha256'> & { sha256: string | null }) | null>
  /** Streams the content: the digest is of what came, not of what S3 says. Kept in memory only with `keep`, at most a MiB. */
  read(key: string, keep: boolean): Promise<(StoredContent & { bytes: Uint8Array | null }) | null>
}

export type Content = { bytes: Uint8Array } | { file: string; size: number }

export interface BundleStore extends BundleReader {
  /** Writes only over the object with this entity tag, or with null only where there is none; false where it is otherwise. */
  putIf(key: string, text: string, etag: string | null): Promise<boolean>
  /** Refused by S3 where the content has another digest; with `kmsKey` encrypted with that key. */
  send(key: string, content: Content, options: { sha256: string; kmsKey?: string | undefined }): Promise<void>
  /** Within the bucket; false where `from` is gone. @throws ClawctlError UPSTREAM where the copy has another digest */
  copy(from: string, to: string, sha256: string): Promise<boolean>
  remove(keys: readonly string[]): Promise<void>
}

/** Fetches one object into a file of its own, for who has to look inside. */
export interface BundleDownloads {
  download(key: string): Promise<{ file: string; remove(): Promise<void> }>
}

/** One `<name>.age` of a secrets directory. */
export interface SecretFile {
  name: string
  bytes: Uint8Array
  sha256: string
}

export interface SecretsListing {
  files: SecretFile[]
  /** `identities/<id>.age`: the instances' identities, encrypted for the maintainers; by instance id. */
  identities: ReadonlyMap<string, SecretFile>
  /** `recipients/<name>.txt`: public keys, one a line; by `maintainers` or instance id. */
  recipients: ReadonlyMap<string, readonly string[]>
  /** What is no secret by its name. */
  strays: string[]
  /** What must not be there or can't be read, by its name in the directory, and why as the end of a sentence. */
  problems: { file: string; problem: string }[]
}

/** The encrypted secrets, as a checkout of nix-secrets has them: what uploads, checks and preflight look into. */
export interface SecretsFolder {
  /** As it was named. */
  path: string
  /** Everything in it. @throws ClawctlError INVALID_SECRETS where there is no such directory */
  read(): Promise<SecretsListing>
  /**
   * Replaces files, by their paths in the directory: all are written beside their places first, then renamed one by one.
   * @throws ClawctlError INVALID_SECRETS where one can't be written; then none was renamed
   */
  write(files: ReadonlyMap<string, Uint8Array>): Promise<void>
}

export type Opened =
  /** `digest` of the plaintext, salted by the process: good for comparing within it, and for nothing else. */
  | { outcome: 'opened'; digest: string; fingerprint: string }
  /** Why, as the end of a sentence about the file. */
  | { outcome: 'failed'; why: string }

/** Age identities of one file; they stay in memory. */
export interface Identity {
  /** Content of the file, for who uploads it. */
  bytes: Uint8Array
  sha256: string
  /** Of the recipients that it decrypts for: domain/contract/stored.ts. */
  fingerprints: readonly string[]
  open(ciphertext: Uint8Array): Promise<Opened>
  /** The plaintext, or null where it does not open the file. */
  decrypt(ciphertext: Uint8Array): Promise<Uint8Array | null>
}

export interface Identities {
  /** The file of --identity, or null where none was given. @throws ClawctlError INVALID_SECRETS */
  shared(): Promise<Identity | null>
  /** `<id>.key` of --identities-dir, or null where no directory was given. @throws ClawctlError INVALID_SECRETS */
  of(id: string): Promise<Identity | null>
  /** @param origin for messages @throws ClawctlError INVALID_SECRETS, never with anything of the content */
  parse(bytes: Uint8Array, origin: string): Promise<Identity>
}

/** Makes identities and encrypts for recipients. */
export interface AgeKeys {
  /** A new X25519 identity: the text of its file, and its recipient (`age1…`). */
  generate(): Promise<{ text: string; recipient: string }>
  /** @throws ClawctlError INVALID_SECRETS for a recipient that the library can't encrypt for */
  encrypt(plaintext: Uint8Array, recipients: readonly string[]): Promise<Uint8Array>
}

export interface PackedSeed {
  commit: string
  file: string
  size: number
  sha256: string
}

export interface Seeds {
  /** Which repositories there are. @throws ClawctlError INVALID_REQUEST */
  list(): Promise<readonly SeedSource[]>
}

export interface SeedSource extends Omit<Seed, 'url'> {
  /** Without credentials; null where the repository has no origin. */
  url: string | null
  /** The commit to be packed. @throws ClawctlError UPSTREAM, TOOL_MISSING */
  commit(): Promise<string>
  /** A shallow clone of that commit in an archive: the same bytes for the same commit. Made once, whoever asks. */
  pack(): Promise<PackedSeed>
}

/** Looks into the archive of a repository. */
export interface SeedInspector {
  /** What is wrong with it, as ends of sentences; empty where it unpacks to that repository at that commit. */
  inspect(file: string, name: string, commit: string): Promise<string[]>
}
