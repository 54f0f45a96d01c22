import type { Seed } from '../../domain/bundles/seeds.js'
import type { ObjectInfo } from '../ports.js'

export interface StoredContent {
  size: number
  /** Hex. For `head`, as stored by S3, or null. */
  sha256: string
  /** `aws:kms`, `AES256`, or null if S3 reports none. */
  encryption: string | null
}

/** The bucket, as readers of bundles use it. Null: no such object. */
export interface BundleReader {
  get(key: string): Promise<{ text: string; etag: string } | null>
  list(prefix: string): Promise<ObjectInfo[]>
  /** Without the content; `checksum` requests S3's own SHA-256, which for a KMS-encrypted object needs kms:Decrypt. */
  head(key: string, checksum: boolean): Promise<(Omit<StoredContent, 'sha256'> & { sha256: string | null }) | null>
  /** Streams the content. The digest is of the received bytes. Kept in memory only with `keep`, at most 1 MiB. */
  read(key: string, keep: boolean): Promise<(StoredContent & { bytes: Uint8Array | null }) | null>
}

export type Content = { bytes: Uint8Array } | { file: string; size: number }

export interface BundleStore extends BundleReader {
  /** Writes only if the object has this entity tag, or with null only if it does not exist; false otherwise. */
  putIf(key: string, text: string, etag: string | null): Promise<boolean>
  /** S3 refuses content with another digest. With `kmsKey`, S3 encrypts it with that key. */
  send(key: string, content: Content, options: { sha256: string; kmsKey?: string | undefined }): Promise<void>
  /** Copies within the bucket; false if `from` no longer exists. @throws ClawctlError UPSTREAM if the copy has another digest */
  copy(from: string, to: string, sha256: string): Promise<boolean>
  remove(keys: readonly string[]): Promise<void>
}

/** Downloads one object into a file of its own. */
export interface BundleDownloads {
  download(key: string): Promise<{ file: string; remove(): Promise<void> }>
}

/** One `<name>.age` file of a secrets directory. */
export interface SecretFile {
  name: string
  bytes: Uint8Array
  sha256: string
}

export interface SecretsListing {
  files: SecretFile[]
  /** `identities/<id>.age`: the instances' identities, encrypted for the maintainers; by instance id. */
  identities: ReadonlyMap<string, SecretFile>
  /** `recipients/<name>.txt`: public keys, one per line; by `maintainers` or instance id. */
  recipients: ReadonlyMap<string, readonly string[]>
  /** Files whose names are not names of secrets. */
  strays: string[]
  /** Files that must not be there or can't be read, with the reason as the end of a sentence. */
  problems: { file: string; problem: string }[]
}

/** The encrypted secrets in a checkout of nix-secrets; uploads, checks and preflight read it. */
export interface SecretsFolder {
  /** The path as given. */
  path: string
  /** All files of the directory. @throws ClawctlError INVALID_SECRETS if there is no such directory */
  read(): Promise<SecretsListing>
  /**
   * Replaces files, by their paths in the directory: all are first written under temporary names, then renamed one by
   * one.
   * @throws ClawctlError INVALID_SECRETS if one can't be written; then none was renamed
   */
  write(files: ReadonlyMap<string, Uint8Array>): Promise<void>
}

export type Opened =
  /** `digest` of the plaintext, salted by the process: only for comparisons within it. */
  | { outcome: 'opened'; digest: string; fingerprint: string }
  /** The reason, as the end of a sentence about the file. */
  | { outcome: 'failed'; why: string }

/** Age identities of one file; they stay in memory. */
export interface Identity {
  /** Content of the file, for the upload. */
  bytes: Uint8Array
  sha256: string
  /** Fingerprints of the recipients that it decrypts for: domain/contract/stored.ts. */
  fingerprints: readonly string[]
  open(ciphertext: Uint8Array): Promise<Opened>
  /** The plaintext, or null if it does not decrypt the file. */
  decrypt(ciphertext: Uint8Array): Promise<Uint8Array | null>
}

export interface Identities {
  /** The file of --identity, or null if none was given. @throws ClawctlError INVALID_SECRETS */
  shared(): Promise<Identity | null>
  /** `<id>.key` of --identities-dir, or null if no directory was given. @throws ClawctlError INVALID_SECRETS */
  of(id: string): Promise<Identity | null>
  /** @param origin for messages @throws ClawctlError INVALID_SECRETS, never with any of the content */
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
  /** The repositories to pack. @throws ClawctlError INVALID_REQUEST */
  list(): Promise<readonly SeedSource[]>
}

export interface SeedSource extends Omit<Seed, 'url'> {
  /** Without credentials; null if the repository has no origin. */
  url: string | null
  /** The commit to pack. @throws ClawctlError UPSTREAM, TOOL_MISSING */
  commit(): Promise<string>
  /** A shallow clone of that commit in an archive: the same bytes for the same commit. Made once, then reused. */
  pack(): Promise<PackedSeed>
}

/** Inspects the archive of a repository. */
export interface SeedInspector {
  /** Its problems, as ends of sentences; empty if it unpacks to that repository at that commit. */
  inspect(file: string, name: string, commit: string): Promise<string[]>
}
