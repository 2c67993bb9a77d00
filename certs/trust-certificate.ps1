# Makes Windows trust a certificate (PEM or DER) for every user. Run as administrator.
param([Parameter(Mandatory = $true)][string]$File)
if (Select-String -Path $File -Pattern 'PRIVATE KEY' -Quiet) {
    Write-Error "$File holds a private key; give the certificate alone"
    exit 1
}
Import-Certificate -FilePath $File -CertStoreLocation Cert:\LocalMachine\Root
