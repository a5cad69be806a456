"""``python -m fasttext_app`` runs ``fasttext-app``."""

from fasttext_app.cli.app import main

if __name__ == "__main__":
    main()
