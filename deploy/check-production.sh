#!/bin/sh
# Loads the production settings with throw-away secrets, runs Django's deployment checks and collects the static files.
# Usage: deploy/check-production.sh PYTHON
set -eu
cd "$(dirname "$0")/.."
python=$1
random() { "$python" -c 'import base64, secrets; print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="))'; }

unset DATABASE_URL_FILE REDIS_URL_FILE SECRET_KEY_FILE ECP_KEK_FILE ECP_DEBUG DJANGO_SETTINGS_MODULE
SECRET_KEY=$(random)$(random)
ECP_KEK=$(random)
export SECRET_KEY ECP_KEK ECP_ENV=production ALLOWED_HOSTS=ecp.example ECP_BASE_URL=https://ecp.example \
    DATABASE_URL=postgresql://ecp_app@127.0.0.1/ecp REDIS_URL=redis://127.0.0.1/0
"$python" manage.py check --deploy --fail-level WARNING
"$python" manage.py collectstatic --no-input --clear -v 0
echo "production settings load, deployment checks pass, static files collected"
